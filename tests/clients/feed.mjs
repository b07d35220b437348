// Follows a route with iotcast's own client, on the npm package ws: node feed.mjs URL OPTIONS
//
// OPTIONS are those of connect that JSON can hold, and `tokenURL`, where to get a
// token for each attempt. It prints what the handlers are told as one JSON document a line.
// A line of its input is a choice, by whose answer it prints `watch`, or `close`, which closes
// the feed. It ends when its input does.
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
  onState: (state, { code, reason, status }) => print({ event: state, code, reason, status }),
  ...options,
});

createInterface({ input: process.stdin })
  .on('line', line => {
    if (line === 'close') return feed.close();
    feed.watch(JSON.parse(line)).then(
      inForce => print({ event: 'watch', text: JSON.stringify(inForce) }),
      error => print({ event: 'watch', reason: error.message }),
    );
  })
  .on('close', () => process.exit());
