import { createServer, connect as rawConnect, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { systemClock } from '../../src/base/clock.js';
import { silentLogger } from '../../src/base/log.js';
import type { ControlHandler } from '../../src/control/api.js';
import { ControlClient } from '../../src/control/client.js';
import { controlOperation } from '../../src/control/operation.js';
import type { Connection } from '../../src/sheepdog/connection.js';
import { SheepdogServer } from '../../src/sheepdog/server.js';
import { Op } from '../../src/wire/sheepdog.js';

export interface ServeOptions {
  inFlightMax?: number;
  drainBytesMax?: number;
  payloadBytesMax?: number;
  jsonBytesMax?: number;
  epoch?: () => number;
}

/** A sheepdog port that serves CONTROL and nothing else, for one socket. */
export function serveControl(
  socket: Duplex,
  firstChunk: Uint8Array,
  handler: ControlHandler,
  options: ServeOptions = {},
): Connection {
  const { payloadBytesMax, jsonBytesMax, ...rest } = options;
  const operations = new Map([
    [Op.CONTROL as number, controlOperation(handler, jsonBytesMax === undefined ? {} : { jsonBytesMax })],
  ]);
  const server = new SheepdogServer({
    log: silentLogger,
    clock: systemClock,
    epoch: () => 0,
    operations: () => operations,
    gate: () => undefined,
    ...rest,
    ...(payloadBytesMax !== undefined && { otherPayloadBytesMax: payloadBytesMax }),
  });
  const connection = server.accept(socket, '');
  connection.start(Buffer.from(firstChunk));
  return connection;
}

/** A control server on a free loopback port with the given handler, for tests. */
export class ControlListener {
  readonly connections: Connection[] = [];
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    readonly port: number,
  ) {}

  static async start(
    handler: ControlHandler['call'],
    options: ServeOptions = {},
    port = 0,
  ): Promise<ControlListener> {
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(port, '127.0.0.1', resolve);
    });
    const listener = new ControlListener(server, (server.address() as { port: number }).port);
    server.on('connection', (socket) => {
      listener.sockets.add(socket);
      socket.once('close', () => listener.sockets.delete(socket));
      listener.connections.push(serveControl(socket, new Uint8Array(0), { call: handler }, options));
    });
    return listener;
  }

  client(): Promise<ControlClient> {
    return ControlClient.connect({ host: '127.0.0.1', port: this.port });
  }

  raw(): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = rawConnect(this.port, '127.0.0.1', () => resolve(socket));
      socket.once('error', reject);
    });
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise<void>((resolve) => this.server.close(() => resolve()));
  }
}

/** Reads exactly `count` bytes, or fails after the deadline. */
export function readBytes(socket: Socket, count: number, deadlineMs = 3000): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let received = Buffer.alloc(0);
    const timer = setTimeout(
      () => done(new Error(`only ${received.length} of ${count} bytes came`)),
      deadlineMs,
    );
    const onData = (chunk: Buffer): void => {
      received = Buffer.concat([received, chunk]);
      if (received.length >= count) done();
    };
    const onClose = (): void => done(new Error(`closed after ${received.length} of ${count} bytes`));
    const done = (error?: Error): void => {
      clearTimeout(timer);
      // Without a reader a flowing socket would lose what comes before the next call.
      socket.off('data', onData).off('close', onClose).pause();
      if (error !== undefined) reject(error);
      else {
        if (received.length > count) socket.unshift(received.subarray(count));
        resolve(received.subarray(0, count));
      }
    };
    socket.on('data', onData).on('close', onClose).resume();
  });
}

/** Fails a wait that does not settle, by name, instead of ending the test run without a word. */
export function within<T>(promise: Promise<T>, what: string, deadlineMs = 5000): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`${what}: nothing after ${deadlineMs} ms`)), deadlineMs);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
