// A WebSocket client made with the npm package ws: node ws.mjs URL
//
// It prints what happens as one JSON document a line, and takes commands on
// standard input: {"send": N} sends a message of N bytes, {"pause": true} stops
// reading from the socket, {"pause": false} goes on. It ends when its input does.
import { createInterface } from 'node:readline';
import WebSocket from 'ws';

const print = event => process.stdout.write(JSON.stringify(event) + '\n');
const ws = new WebSocket(process.argv[2], { maxPayload: 0 });

ws.on('upgrade', response => {
  print({ event: 'open', id: response.headers['x-yc-apigateway-websocket-connection-id'] ?? '' });
});
ws.on('message', (data, binary) => print({ event: 'message', binary, data: data.toString() }));
ws.on('close', (code, reason) => print({ event: 'close', code, reason: reason.toString() }));
ws.on('error', error => print({ event: 'error', error: error.message }));

createInterface({ input: process.stdin })
  .on('line', line => {
    const command = JSON.parse(line);
    if (command.send !== undefined) ws.send('x'.repeat(command.send));
    if (command.pause === true) { ws.pause(); print({ event: 'paused' }); }
    if (command.pause === false) ws.resume();
  })
  .on('close', () => process.exit());
