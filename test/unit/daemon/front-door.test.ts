import { connect, type Socket } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { silentLogger } from '../../../src/base/log.js';
import { FrontDoor } from '../../../src/daemon/front-door.js';
import { encodePeerMessage } from '../../../src/net/peer-codec.js';
import { TcpTransport } from '../../../src/net/tcp-transport.js';
import type { SheepdogServer } from '../../../src/sheepdog/server.js';
import { emptyMessage, PeerType } from '../../../src/wire/peer-message.js';

/** A door whose clients and peers are only counted. */
async function open(options: { peersOnly?: boolean }) {
  const seen = { clients: 0, peers: 0 };
  const client = {
    start: () => {
      seen.clients++;
    },
  };
  const server = { accept: () => client, forget: () => {} } as unknown as SheepdogServer;
  const transport = new TcpTransport();
  transport.listen((channel) => {
    seen.peers++;
    channel.close();
  });
  const door = new FrontDoor({ transport, server, log: silentLogger });
  const port = await door.listen({ host: '127.0.0.1', port: 0 }, options);
  const close = async () => {
    door.close();
    await transport.close();
  };
  return { seen, port, close };
}

/** Says it, and resolves when the connection ends or after a moment without anything. */
function say(port: number, bytes: Uint8Array): Promise<'closed' | 'open'> {
  return new Promise((resolve) => {
    const socket: Socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    const end = (outcome: 'closed' | 'open') => {
      clearTimeout(timer);
      socket.destroy();
      resolve(outcome);
    };
    const timer = setTimeout(() => end('open'), 300);
    socket.on('error', () => {});
    socket.on('close', () => end('closed'));
    socket.resume();
  });
}

const clientBytes = Buffer.alloc(48, 1);
const hello = encodePeerMessage(emptyMessage(PeerType.hello));

test('the door for all takes clients and sheep', async () => {
  const door = await open({});
  assert.is(await say(door.port, clientBytes), 'open');
  assert.is(await say(door.port, hello), 'closed');
  assert.equal(door.seen, { clients: 1, peers: 1 });
  await door.close();
});

test('the door on the I/O network takes sheep only', async () => {
  const door = await open({ peersOnly: true });
  assert.is(await say(door.port, clientBytes), 'closed');
  assert.is(await say(door.port, hello), 'closed');
  assert.equal(door.seen, { clients: 0, peers: 1 });
  await door.close();
});

test.run();
