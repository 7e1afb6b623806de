/** QEMU's machine protocol: one JSON object a line; events are left out. */
import { connect, type Socket } from 'node:net';

const COMMAND_DEADLINE_MS = 60_000;

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

export class QmpClient {
  private readonly waiting: Waiting[] = [];

  private constructor(private readonly socket: Socket) {
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (text + chunk).split('\n');
      text = lines.pop()!;
      for (const line of lines) this.take(JSON.parse(line));
    });
    socket.on('close', () => {
      for (const { reject } of this.waiting.splice(0)) reject(new Error('the emulator hung up'));
    });
  }

  static async connect(path: string): Promise<QmpClient> {
    const socket = connect(path);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    // Whatever breaks it, 'close' follows.
    socket.on('error', () => {});
    const client = new QmpClient(socket);
    await client.execute('qmp_capabilities');
    return client;
  }

  /** The command's `return`; rejects with QEMU's description of an error. */
  execute(command: string, words: object = {}): Promise<unknown> {
    const text = JSON.stringify({ execute: command, arguments: words });
    let timer: NodeJS.Timeout | undefined;
    const answer = new Promise<unknown>((resolve, reject) => {
      this.waiting.push({ resolve, reject });
      timer = setTimeout(() => reject(new Error(`${text}: no answer`)), COMMAND_DEADLINE_MS);
      this.socket.write(`${text}\n`);
    });
    return answer
      .catch((error: Error) => {
        throw new Error(`${text}: ${error.message}`);
      })
      .finally(() => clearTimeout(timer));
  }

  close(): void {
    this.socket.destroy();
  }

  private take(message: { return?: unknown; error?: { desc: string } }): void {
    if (message.error !== undefined) this.waiting.shift()?.reject(new Error(message.error.desc));
    else if ('return' in message) this.waiting.shift()?.resolve(message.return);
  }
}
