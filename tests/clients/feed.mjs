// Follows a route with iotcast's own client, on the npm package ws: node feed.mjs URL OPTIONS
//
// OPTIONS are those of connect that JSON can hold, and `tokenURL`, where to get a
// token for each attempt. It prints what the handlers are told as one JSON document a line,
// closes the feed when its input says so, and ends when its input does.
import { createInterface } from 'node:readline';
import WebSocket from 'ws';
import { connect } from '../../internal/gateway/client/iotcast.js';

const print = event => process.stdout.write(JSON.stringify(event) + '\n');
const [url, { tokenURL, ...options }] = [process.argv[2], JSON.parse(process.argv[3])];
const feed = connect(url, {
  WebSocket,
  token: tokenURL && (async () => (await fetch(tokenURL)).text()),
  onMessage: m => print({ event: 'message', id: m.event_metadata.event_id, text: m.text() }),
  onGap: gap => print({ event: 'gap', ...gap }),
  onState: (state, { code, reason }) => print({ event: state, code, reason }),
  ...options,
});

createInterface({ input: process.stdin })
  .on('line', () => feed.close())
  .on('close', () => process.exit());
