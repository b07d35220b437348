import { useEffect, useState } from "react"
import { connect } from "iotcast"

export default function Devices({ url = "http://127.0.0.1:8080/devices" }) {
  const [latest, setLatest] = useState([])
  const [state, setState] = useState("")

  useEffect(() => {
    const feed = connect(url, { interval: 1000, onState: setState, onData: () => setLatest([...feed.latest].sort()) })
    return () => feed.close()
  }, [url])

  return <>
    <h1>Devices <small>{state}</small></h1>
    <table>
      <thead><tr><th>Device</th><th>Value</th><th>At</th></tr></thead>
      <tbody>
        {latest.map(([device, message]) => <tr key={device}>
          <td>{device}</td>
          <td>{message.text()}</td>
          <td>{new Date(message.event_metadata.created_at).toLocaleTimeString()}</td>
        </tr>)}
      </tbody>
    </table>
  </>
}
