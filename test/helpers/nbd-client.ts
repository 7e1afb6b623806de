/** An NBD client for tests: any number of requests in flight, simple replies, no reconnecting, no hidden limits. */
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import {
  Command,
  OPTION_REPLY_HEADER_BYTES,
  Option,
  OptionReply,
  REQUEST_BYTES,
  REQUEST_MAGIC,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
} from '../../src/nbd/protocol.js';

const GREETING_BYTES = 18;
const CONNECT_DEADLINE_MS = 30_000;

export class NbdFailure extends Error {
  constructor(
    what: string,
    /** Errno number of the answer; 0: the connection broke. */
    readonly errno: number,
  ) {
    super(errno === 0 ? `${what}: the connection broke` : `${what}: error ${errno}`);
  }
}

interface Pending {
  readonly what: string;
  readonly readBytes: number;
  readonly resolve: (data: Buffer) => void;
  readonly reject: (error: Error) => void;
}

export class NbdClient {
  private chunks: Buffer[] = [];
  private have = 0;
  private wanted: { bytes: number; take: (data: Buffer) => void; reject: (error: Error) => void } | undefined;
  private readonly pending = new Map<bigint, Pending>();
  private nextCookie = 1n;
  private broken: Error | undefined;
  sizeBytes = 0;
  transmissionFlags = 0;

  private constructor(private readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.chunks.push(chunk);
      this.have += chunk.length;
      this.feed();
    });
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.fail(new Error('closed')));
  }

  /** Connects and goes into transmission with an export. Rejects when it is refused. */
  static async open(address: NetConnectOpts, exportName: string): Promise<NbdClient> {
    const socket = connect(address);
    socket.setTimeout(CONNECT_DEADLINE_MS, () => socket.destroy(new Error('silent during the handshake')));
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    const client = new NbdClient(socket);
    await client.handshake(exportName);
    socket.setTimeout(0);
    // When the connection breaks, every request that waits is told so; nobody else needs to know.
    client.serve().catch(() => {});
    return client;
  }

  read(offset: number, length: number): Promise<Buffer> {
    return this.request(Command.READ, offset, length);
  }

  async write(offset: number, data: Buffer, flags = 0): Promise<void> {
    await this.request(Command.WRITE, offset, data.length, data, flags);
  }

  async zero(offset: number, length: number, flags = 0): Promise<void> {
    await this.request(Command.WRITE_ZEROES, offset, length, undefined, flags);
  }

  async trim(offset: number, length: number): Promise<void> {
    await this.request(Command.TRIM, offset, length);
  }

  async flush(): Promise<void> {
    await this.request(Command.FLUSH, 0, 0);
  }

  close(): void {
    this.socket.destroy();
  }

  private request(
    command: number,
    offset: number,
    length: number,
    data?: Buffer,
    flags = 0,
  ): Promise<Buffer> {
    const what = `${nameOf(command)} ${length} at ${offset}`;
    if (this.broken !== undefined) return Promise.reject(new NbdFailure(what, 0));
    const cookie = this.nextCookie++;
    const head = Buffer.alloc(REQUEST_BYTES);
    head.writeUInt32BE(REQUEST_MAGIC, 0);
    head.writeUInt16BE(flags, 4);
    head.writeUInt16BE(command, 6);
    head.writeBigUInt64BE(cookie, 8);
    head.writeBigUInt64BE(BigInt(offset), 16);
    head.writeUInt32BE(length, 24);
    return new Promise((resolve, reject) => {
      const readBytes = command === Command.READ ? length : 0;
      this.pending.set(cookie, { what, readBytes, resolve, reject });
      this.socket.cork();
      this.socket.write(head);
      if (data !== undefined) this.socket.write(data);
      this.socket.uncork();
    });
  }

  private async handshake(exportName: string): Promise<void> {
    await this.take(GREETING_BYTES);
    const name = Buffer.from(exportName);
    const message = Buffer.alloc(4 + 16 + 4 + name.length + 2);
    message.writeUInt32BE(3, 0);
    message.write('IHAVEOPT', 4);
    message.writeUInt32BE(Option.GO, 12);
    message.writeUInt32BE(4 + name.length + 2, 16);
    message.writeUInt32BE(name.length, 20);
    name.copy(message, 24);
    this.socket.write(message);
    for (;;) {
      const header = await this.take(OPTION_REPLY_HEADER_BYTES);
      const type = header.readUInt32BE(12);
      const payload = await this.take(header.readUInt32BE(16));
      if (type === OptionReply.ACK) return;
      if (type !== OptionReply.INFO) throw new Error(`export ${exportName} refused: ${payload.toString()}`);
      if (payload.readUInt16BE(0) !== 0) continue;
      this.sizeBytes = Number(payload.readBigUInt64BE(2));
      this.transmissionFlags = payload.readUInt16BE(10);
    }
  }

  private async serve(): Promise<void> {
    for (;;) {
      const header = await this.take(SIMPLE_REPLY_BYTES);
      const pending = this.pending.get(header.readBigUInt64BE(8));
      if (header.readUInt32BE(0) !== SIMPLE_REPLY_MAGIC || pending === undefined) {
        this.socket.destroy(new Error(`not an answer: ${header.toString('hex')}`));
        return;
      }
      const errno = header.readUInt32BE(4);
      const data = errno === 0 ? await this.take(pending.readBytes) : Buffer.alloc(0);
      this.pending.delete(header.readBigUInt64BE(8));
      if (errno === 0) pending.resolve(data);
      else pending.reject(new NbdFailure(pending.what, errno));
    }
  }

  private take(bytes: number): Promise<Buffer> {
    return new Promise((take, reject) => {
      if (this.broken !== undefined) reject(this.broken);
      this.wanted = { bytes, take, reject };
      this.feed();
    });
  }

  private feed(): void {
    while (this.wanted !== undefined && this.have >= this.wanted.bytes) {
      const { bytes, take } = this.wanted;
      const all = this.chunks.length === 1 ? this.chunks[0]! : Buffer.concat(this.chunks);
      this.chunks = all.length > bytes ? [all.subarray(bytes)] : [];
      this.have = all.length - bytes;
      this.wanted = undefined;
      take(all.subarray(0, bytes));
    }
  }

  private fail(error: Error): void {
    if (this.broken !== undefined) return;
    this.broken = error;
    const waiting = [...this.pending.values()];
    this.pending.clear();
    for (const { what, reject } of waiting) reject(new NbdFailure(what, 0));
    this.wanted?.reject(error);
  }
}

function nameOf(command: number): string {
  return Object.entries(Command).find(([, value]) => value === command)?.[0] ?? String(command);
}
