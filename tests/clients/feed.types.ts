// What a page writes, as the compiler sees it. tsc --noEmit must find nothing
// here, and each line below an @ts-expect-error must be an error.
import { EventStream } from 'iotcast/events.js';
import { SharedSocket } from 'iotcast/shared.js';
import { connect, type Choice, type Feed, type Gap, type Message, type State } from 'iotcast';

interface Reading { temperature: number }

const latest = new Map<string, number>();
const missing: Gap[] = [];
let shown: State = 'connecting';

const feed: Feed = connect('/telemetry', {
  onMessage(message: Message) {
    const { device_id = message.details.mqtt_topic } = message.details;
    latest.set(device_id, message.json<Reading>()?.temperature ?? NaN);
    // @ts-expect-error a payload may be no JSON
    console.log(message.json<Reading>().temperature);
    const first: number | undefined = message.payload[0];
    console.log(Date.parse(message.event_metadata.created_at), message.text().length, first);
  },
  onData: (data, messages) => console.log(typeof data === 'string' ? data.length : data.byteLength, messages?.length),
  onGap(gap) {
    missing.push(gap);
    if (gap.reason === 'slow_consumer') console.log(gap.dropped.toFixed());
    // @ts-expect-error a gap of the history has no number
    if (gap.reason === 'history') console.log(gap.dropped);
  },
  onState(state, { delay = 0, code, reason, status, error }) {
    shown = state;
    console.log(delay / 1000, code, reason, status === 403, error);
  },
  watch: { device_ids: ['boiler'] },
  interval: 1000,
  rewind: 300_000,
  latestBy: 'topic',
  signal: AbortSignal.timeout(60_000),
  token: async () => (await fetch('/token')).text(),
  subprotocolPrefix: 'bearer.',
  protocols: ['iotcast'],
  backoff: { max: 10_000 },
  heartbeat: 10_000,
  silence: 60_000,
  lastEventId: sessionStorage.getItem('last') ?? undefined,
  WebSocket,
});
const sent: boolean = feed.send('{"led":true}') && feed.send(new Uint8Array(3));
sessionStorage.setItem('last', feed.lastEventId);
const inForce: Choice = await feed.watch({ topics: ['$devices/+/events/alarm/#'] });
await feed.watch();
for (const [key, message] of feed.latest) console.log(key.length, message.text(), inForce.topics?.length);
for await (const message of feed) console.log(message.details.device_id);
feed.retry();
feed.close();
connect(new URL('ws://127.0.0.1:8080/telemetry'));
connect('/telemetry', { WebSocket: EventStream });
connect('/telemetry', { WebSocket: SharedSocket });
console.log(sent, shown);

// @ts-expect-error there is no route without a URL
connect();
// @ts-expect-error an option that does not exist
connect('/telemetry', { onmessage() {} });
// @ts-expect-error lists, not one
feed.watch({ device_ids: 'boiler' });
// @ts-expect-error the feed says where it is, it is not told
feed.lastEventId = 'x';
