// An MQTT broker that is a library: aedes, as a program of one's own has it.
//
// Usage: node aedes.mjs PORT. The user iotcast, with the password right, may all but read secret/#; so may devices, and that, too.

import { createServer } from 'node:net';
import { Aedes } from 'aedes';

const users = new Set(['iotcast', 'devices']);

const broker = await Aedes.createBroker({
  authenticate(client, user, password, done) {
    client.user = user;
    const right = users.has(user) && password?.toString() === 'right';
    done(right ? null : Object.assign(new Error('wrong user or password'), { returnCode: 4 }), right);
  },
  authorizeSubscribe(client, subscription, done) {
    const secret = client.user !== 'devices' && subscription.topic.startsWith('secret/');
    done(null, secret ? null : subscription);
  },
});

createServer(broker.handle).listen(Number(process.argv[2]), '127.0.0.1');
