/** Who is asked whether they are there, and who is dropped, on a clock of the test's own. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { KeepalivePing, KeepalivePong, type MessageHeader } from '../../../pool-backend/rpc/message.js';
import { Keepalive } from '../../../pool-backend/server/keepalive.js';
import type { RpcSocket } from '../../../pool-backend/server/rpc-socket.js';
import type { Clock } from '../../../src/base/clock.js';

/** One timer at a time, which is all that keepalive sets. */
class OneTimer implements Clock {
  private due: (() => void) | undefined;
  nowMs = () => 0;
  wallMs = () => 0;
  defer = (run: () => void) => run();
  after(_delayMs: number, run: () => void) {
    this.due = run;
    return {
      cancel: () => {
        this.due = undefined;
      },
    };
  }
  tick(): void {
    const { due } = this;
    this.due = undefined;
    due?.();
  }
}

function world() {
  const sent: number[] = [];
  const socket = {
    isOpen: true,
    isPaused: false,
    lastReceivedMs: 1,
    closed: '',
    send: (header: MessageHeader) => sent.push(header.procedure),
    close(reason: string) {
      this.closed = reason;
      this.isOpen = false;
    },
  };
  const clock = new OneTimer();
  return { sent, socket, clock, keepalive: new Keepalive(socket as unknown as RpcSocket, clock) };
}

test('nobody is asked before they said that they answer', () => {
  const { sent, clock } = world();
  clock.tick();
  assert.equal(sent, []);
});

test('a client that says nothing is asked five times and dropped', () => {
  const { sent, socket, clock, keepalive } = world();
  keepalive.start();
  clock.tick();
  assert.equal(sent, [], 'something had just come');
  for (let question = 0; question < 5; question++) clock.tick();
  assert.equal([sent, socket.closed], [Array(5).fill(KeepalivePing), '']);
  clock.tick();
  assert.match(socket.closed, /keepalive/);
});

test('whatever comes counts as an answer', () => {
  const { socket, clock, keepalive } = world();
  keepalive.start();
  for (let round = 0; round < 20; round++) {
    clock.tick();
    if (round % 4 === 0) socket.lastReceivedMs++;
  }
  assert.is(socket.closed, '');
});

test('a client whose packets are left unread is told that we live, and never dropped for it', () => {
  const { sent, socket, clock, keepalive } = world();
  keepalive.start();
  socket.isPaused = true;
  for (let round = 0; round < 20; round++) clock.tick();
  assert.is(socket.closed, '');
  assert.is(sent.length, 20);
});

test('a ping is answered, a pong is not; after the end nothing is sent', () => {
  const { sent, clock, keepalive } = world();
  const message = (procedure: number) => ({ procedure }) as Parameters<Keepalive['onMessage']>[0];
  keepalive.onMessage(message(KeepalivePing));
  keepalive.onMessage(message(KeepalivePong));
  assert.equal(sent, [KeepalivePong]);
  keepalive.start();
  keepalive.stop();
  clock.tick();
  assert.equal(sent, [KeepalivePong]);
});

test.run();
