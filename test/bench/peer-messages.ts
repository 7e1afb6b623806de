/**
 * Rough figures of the peer link: `node dist/test/bench/peer-messages.js [payload bytes] [depth] [seconds]`.
 * One process, two transports over loopback: requests with a payload, empty answers.
 */
import { createServer } from 'node:net';
import { TcpTransport } from '../../src/net/tcp-transport.js';
import type { Channel } from '../../src/net/transport.js';
import type { PeerMessage } from '../../src/wire/peer-message.js';

const payloadBytes = Number(process.argv[2] ?? 4096);
const depth = Number(process.argv[3] ?? 32);
const seconds = Number(process.argv[4] ?? 2);

function message(type: number, id: number, payload: Uint8Array): PeerMessage {
  return {
    type,
    flags: 0,
    id,
    result: 0,
    epoch: 1,
    oid: 0x7c2b2500000001n,
    parent: 0n,
    root: 0x7c2b25,
    copies: 3,
    objectShift: 22,
    offset: 4096,
    length: payload.length,
    sequence: id,
    commit: 0,
    payload,
  };
}

const none = new Uint8Array(0);
const server = new TcpTransport();
server.listen((channel: Channel) => {
  channel.onMessage = (request) => channel.send(message(request.type + 1, request.id, none));
  channel.onClose = () => {};
});
const listener = createServer((socket) => {
  socket.once('data', (chunk) => {
    socket.pause();
    server.accept(socket, chunk as Buffer);
  });
});
await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
const address = listener.address() as { port: number };

const client = new TcpTransport();
const channel = await client.connect({ host: '127.0.0.1', port: address.port });
const payload = Buffer.alloc(payloadBytes, 7);
let sent = 0;
let answered = 0;
const startMs = performance.now();
const cpu = process.cpuUsage();
await new Promise<void>((resolve) => {
  const next = () => channel.send(message(0x30, sent++ >>> 0, payload));
  channel.onMessage = () => {
    answered++;
    if (performance.now() - startMs < seconds * 1000) next();
    else if (answered === sent) resolve();
  };
  channel.onClose = () => resolve();
  for (let i = 0; i < depth; i++) next();
});
const elapsed = (performance.now() - startMs) / 1000;
const used = process.cpuUsage(cpu);
const perMessageUs = (used.user + used.system) / answered;
process.stdout.write(
  `${Math.round(answered / elapsed)} requests/s of ${payloadBytes} bytes at depth ${depth}, ` +
    `${perMessageUs.toFixed(1)} us CPU per request and answer (both ends)\n`,
);
await client.close();
await server.close();
listener.close();
