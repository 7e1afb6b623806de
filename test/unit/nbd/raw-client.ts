import { Duplex } from 'node:stream';
import type { Clock, Timer } from '../../../src/base/clock.js';
import { systemClock } from '../../../src/base/clock.js';
import { silentLogger } from '../../../src/base/log.js';
import type { NbdLimits } from '../../../src/nbd/limits.js';
import { CommandFlag } from '../../../src/nbd/protocol.js';
import { createNbdServer, type NbdServer, type NbdServerOptions } from '../../../src/nbd/server.js';
import { MemoryProvider } from '../../helpers/memory-device.js';

const WAIT_MS = 5000;

class PairEnd extends Duplex {
  peer!: PairEnd;
  private waiting: (() => void) | undefined;

  override _read(): void {
    const { waiting } = this;
    this.waiting = undefined;
    waiting?.();
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    // A real socket: what the reader does not take stays with the writer.
    if (this.peer.destroyed || this.peer.push(chunk)) done();
    else this.peer.waiting = done;
  }

  override _final(done: () => void): void {
    if (!this.peer.destroyed) this.peer.push(null);
    done();
  }

  override _destroy(_error: Error | null, done: () => void): void {
    setImmediate(() => this.peer.destroy());
    done();
  }
}

/** Two streams, each the other's far end. */
export function duplexPair(): [Duplex, Duplex] {
  const a = new PairEnd();
  const b = new PairEnd();
  a.peer = b;
  b.peer = a;
  return [a, b];
}

/** Time that moves only when told; deferred work still runs in real turns, as streams need it. */
export class ManualClock implements Clock {
  private timeMs = 0;
  private timers: { atMs: number; run: () => void }[] = [];

  nowMs(): number {
    return this.timeMs;
  }

  wallMs(): number {
    return this.timeMs;
  }

  after(delayMs: number, run: () => void): Timer {
    const timer = { atMs: this.timeMs + delayMs, run };
    this.timers.push(timer);
    return { cancel: () => void (this.timers = this.timers.filter((entry) => entry !== timer)) };
  }

  defer(run: () => void): void {
    setImmediate(run);
  }

  advance(byMs: number): void {
    this.timeMs += byMs;
    const due = this.timers.filter((timer) => timer.atMs <= this.timeMs);
    this.timers = this.timers.filter((timer) => timer.atMs > this.timeMs);
    for (const timer of due) timer.run();
  }
}

/** A client that knows bytes and nothing else. Every wait has a deadline. */
export class RawClient {
  private received = Buffer.alloc(0);
  private wake: (() => void) | undefined;
  closed = false;

  constructor(readonly stream: Duplex) {
    stream.on('data', (chunk: Buffer) => {
      this.received = Buffer.concat([this.received, chunk]);
      this.wake?.();
    });
    stream.on('error', () => {});
    for (const event of ['close', 'end']) {
      stream.on(event, () => {
        this.closed = true;
        this.wake?.();
      });
    }
  }

  send(...parts: Uint8Array[]): void {
    this.stream.write(Buffer.concat(parts));
  }

  async recv(length: number): Promise<Buffer> {
    await this.until(() => this.received.length >= length, `${length} bytes`);
    const out = this.received.subarray(0, length);
    this.received = this.received.subarray(length);
    return out;
  }

  /** Everything until the server closes. */
  async rest(): Promise<Buffer> {
    await this.until(() => this.closed, 'the end');
    return this.received;
  }

  /** True when nothing more arrives and the connection stays for a little while. */
  async quiet(forMs = 20): Promise<boolean> {
    await new Promise((resolve) => setTimeout(resolve, forMs));
    return !this.closed && this.received.length === 0;
  }

  /** Greeting and client flags. */
  async greet(flags = 3): Promise<Buffer> {
    const greeting = await this.recv(18);
    this.send(u32(flags));
    return greeting;
  }

  async optionReply(): Promise<{ option: number; type: number; payload: Buffer }> {
    const header = await this.recv(20);
    const payload = await this.recv(header.readUInt32BE(16));
    return { option: header.readUInt32BE(8), type: header.readUInt32BE(12), payload };
  }

  /** Sends an option and returns the types of all replies to it, up to the final one. */
  async option(number: number, payload: Uint8Array = Buffer.alloc(0)): Promise<number[]> {
    this.send(option(number, payload));
    const types: number[] = [];
    for (;;) {
      const { type } = await this.optionReply();
      types.push(type);
      if (type === 1 || type >= 0x80000000) return types;
    }
  }

  async go(name = 'disk'): Promise<void> {
    const types = await this.option(7, goPayload(name));
    if (types.at(-1) !== 1) throw new Error(`GO refused: ${types}`);
  }

  async simpleReply(): Promise<{ error: number; cookie: bigint }> {
    const reply = await this.recv(16);
    if (reply.readUInt32BE(0) !== 0x67446698) throw new Error(`not a simple reply: ${reply.toString('hex')}`);
    return { error: reply.readUInt32BE(4), cookie: reply.readBigUInt64BE(8) };
  }

  async structuredChunk(): Promise<{ flags: number; type: number; cookie: bigint; payload: Buffer }> {
    const header = await this.recv(20);
    if (header.readUInt32BE(0) !== 0x668e33ef) throw new Error(`not structured: ${header.toString('hex')}`);
    const payload = await this.recv(header.readUInt32BE(16));
    return {
      flags: header.readUInt16BE(4),
      type: header.readUInt16BE(6),
      cookie: header.readBigUInt64BE(8),
      payload,
    };
  }

  async extendedChunk(): Promise<{ flags: number; type: number; offset: bigint; payload: Buffer }> {
    const header = await this.recv(32);
    if (header.readUInt32BE(0) !== 0x6e8a278c) throw new Error(`not extended: ${header.toString('hex')}`);
    const payload = await this.recv(Number(header.readBigUInt64BE(24)));
    return {
      flags: header.readUInt16BE(4),
      type: header.readUInt16BE(6),
      offset: header.readBigUInt64BE(16),
      payload,
    };
  }

  async until(condition: () => boolean, what: string): Promise<void> {
    const deadline = Date.now() + WAIT_MS;
    while (!condition()) {
      if (this.closed && what !== 'the end') throw new Error(`closed while waiting for ${what}`);
      if (Date.now() > deadline)
        throw new Error(`timeout waiting for ${what}, have ${this.received.length} bytes`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, 50);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }
}

export function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 255]);
}

export function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
}

export function u64(value: number | bigint): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(BigInt(value));
  return out;
}

export function option(number: number, payload: Uint8Array = Buffer.alloc(0)): Buffer {
  return Buffer.concat([Buffer.from('IHAVEOPT'), u32(number), u32(payload.length), payload]);
}

export function goPayload(name: string | Buffer, infoTypes: number[] = []): Buffer {
  const bytes = Buffer.from(name);
  return Buffer.concat([u32(bytes.length), bytes, u16(infoTypes.length), ...infoTypes.map(u16)]);
}

export function metaPayload(name: string, queries: string[]): Buffer {
  const list = queries.flatMap((query) => [u32(query.length), Buffer.from(query)]);
  return Buffer.concat([u32(name.length), Buffer.from(name), u32(queries.length), ...list]);
}

export function request(
  command: number,
  offset: number | bigint,
  length: number,
  options: { flags?: number; cookie?: number; data?: Uint8Array } = {},
): Buffer {
  const head = [u32(0x25609513), u16(options.flags ?? 0), u16(command), u64(options.cookie ?? 1)];
  return Buffer.concat([...head, u64(offset), u32(length), options.data ?? Buffer.alloc(0)]);
}

export function extendedRequest(
  command: number,
  offset: number | bigint,
  length: number | bigint,
  options: { flags?: number; cookie?: number; data?: Uint8Array } = {},
): Buffer {
  const flags = (options.flags ?? 0) | (options.data === undefined ? 0 : CommandFlag.PAYLOAD_LEN);
  const head = [u32(0x21e41c71), u16(flags), u16(command), u64(options.cookie ?? 1)];
  return Buffer.concat([...head, u64(offset), u64(length), options.data ?? Buffer.alloc(0)]);
}

const servers: NbdServer[] = [];

/** For `test.after`: an open server keeps the process alive with its deadlines. */
export async function closeAll(): Promise<void> {
  await Promise.all(servers.splice(0).map((server) => server.close()));
}

/** A server with one volume `disk` of 1 MiB in memory, and a way to connect. */
export function setup(
  options: Partial<NbdServerOptions> & { limits?: Partial<NbdLimits>; provider?: MemoryProvider } = {},
): { server: NbdServer; provider: MemoryProvider; connect: () => RawClient } {
  const provider = options.provider ?? new MemoryProvider();
  if (!provider.volumes.has('disk')) provider.add('disk', 1024 * 1024);
  const server = createNbdServer({ clock: systemClock, log: silentLogger, ...options, provider });
  servers.push(server);
  const connect = (): RawClient => {
    const [client, far] = duplexPair();
    server.handle(far);
    return new RawClient(client);
  };
  return { server, provider, connect };
}

/** Waits, with a deadline, for something that happens in another turn. */
export async function eventually(condition: () => boolean, what: string): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  while (!condition()) {
    if (Date.now() > deadline) throw new Error(`timeout: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

export type Style = 'simple' | 'structured' | 'extended';

/** Through the handshake into the transmission phase, with base:allocation where the style has it. */
export async function attach(client: RawClient, style: Style = 'simple', name = 'disk'): Promise<RawClient> {
  await client.greet();
  if (style !== 'simple') {
    await client.option(style === 'structured' ? 8 : 11);
    await client.option(10, metaPayload(name, ['base:allocation']));
  }
  await client.go(name);
  return client;
}

/** Sends one request and returns the error of its simple reply. */
export async function errorOf(client: RawClient, ...bytes: Buffer[]): Promise<number> {
  client.send(...bytes);
  return (await client.simpleReply()).error;
}
