/** A sheep that listens on a free port and does with requests what a test wants. */
import { createServer, type Server, type Socket } from 'node:net';
import { type Frame, Framer } from '../../../src/wire/framer.js';
import { plainResponse } from '../../../src/wire/headers.js';

export class ScriptedSheep {
  readonly sockets = new Set<Socket>();
  requests: Frame[] = [];
  /** What it does with a request; nothing without. */
  onRequest: (frame: Frame, socket: Socket) => void = () => {};
  private server: Server | undefined;
  port = 0;

  static async start(): Promise<ScriptedSheep> {
    const sheep = new ScriptedSheep();
    await sheep.up();
    return sheep;
  }

  /** On the port it had before, if it had one. */
  async up(): Promise<void> {
    const server = createServer((socket) => {
      this.sockets.add(socket);
      const framer = Framer.forRequests((frame) => {
        this.requests.push(frame);
        this.onRequest(frame, socket);
      });
      socket.on('data', (chunk: Buffer) => framer.push(chunk));
      socket.on('error', () => {});
      socket.once('close', () => this.sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.port, '127.0.0.1', resolve);
    });
    this.server = server;
    this.port = (server.address() as { port: number }).port;
  }

  /** As a process that is killed. */
  down(): void {
    this.server?.close();
    for (const socket of this.sockets) socket.destroy();
  }
}

export function answerTo({ opcode, id }: Frame, payload: Buffer = Buffer.alloc(0), result = 0): Buffer {
  return Buffer.concat([plainResponse.encode({ opcode, id, dataLength: payload.length, result }), payload]);
}
