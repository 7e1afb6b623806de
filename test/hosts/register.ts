/**
 * A witness against stale reads (I-2): a block for each sheep, into which that sheep's client writes rising numbers,
 * and which the clients of all sheep read all the time. All of them are in this process, so that "before" is a matter
 * of one clock: a read that begins after a write was acknowledged, or after another read has seen it, must see it too.
 *
 * The clients use unix sockets: a cut of the network leaves each of them with its sheep.
 */
import { sleep, systemClock } from '../../src/base/clock.js';
import type { NbdClient } from '../helpers/nbd-client.js';
import { within } from '../helpers/real-cluster.js';
import type { Room } from './room.js';
import type { HostSheep } from './sheep.js';

const BLOCK_BYTES = 4096;
const AGAIN_MS = 50;
const VOLUME = 'register';
const END_DEADLINE_MS = 60_000;

export interface Seen {
  /** The sheep through which it was done. */
  readonly sheep: number;
  readonly what: 'read' | 'write';
  /** By performance.now. */
  readonly startMs: number;
  readonly endMs: number;
}

interface Block {
  /** Highest number that was acknowledged, or read: no later read may give less. */
  floor: number;
  /** Highest number that was sent. */
  sent: number;
}

export class Register {
  /** Every read and write that got its answer. */
  readonly seen: Seen[] = [];
  failure: Error | undefined;
  private readonly blocks: readonly Block[];
  private stopped = false;
  private tasks: Promise<void>[] = [];
  private readonly clients = new Set<NbdClient>();

  private constructor(
    private readonly room: Room,
    private readonly paceMs: number,
  ) {
    this.blocks = room.sheep.map(() => ({ floor: 0, sent: 0 }));
  }

  /** Makes the volume and begins. `paceMs`: pause of each client between two requests. */
  static async start(room: Room, paceMs: number): Promise<Register> {
    await room.call('vdi.create', { name: VOLUME, sizeBytes: 64 * 1024 * 1024 });
    const register = new Register(room, paceMs);
    room.ends.push(() => {
      register.stopped = true;
    });
    register.tasks = room.sheep.flatMap((sheep) => [
      register.loop(sheep, (client) => register.write(client, sheep.index)),
      register.loop(sheep, (client, turn) =>
        register.read(client, sheep.index, turn % register.blocks.length),
      ),
    ]);
    return register;
  }

  /** Acknowledged writes, or answered reads, through these sheep that ended between two moments. */
  count(what: Seen['what'], sheep: readonly number[], fromMs: number, toMs: number): number {
    return this.seen.filter(
      (one) => one.what === what && sheep.includes(one.sheep) && one.endMs >= fromMs && one.endMs <= toMs,
    ).length;
  }

  check(): void {
    if (this.failure !== undefined) throw this.failure;
  }

  /** Ends everything; then every block must be what it should through every sheep. */
  async stop(): Promise<void> {
    this.stopped = true;
    const late = setTimeout(() => {
      for (const client of this.clients) client.close();
    }, END_DEADLINE_MS);
    await Promise.all(this.tasks);
    clearTimeout(late);
    this.check();
    for (const sheep of this.room.sheep.filter((one) => one.running)) {
      await within(END_DEADLINE_MS, `the register is read through sheep ${sheep.index}`, async () => {
        const client = await sheep.openVolume(VOLUME);
        try {
          for (const block of this.blocks.keys()) await this.read(client, sheep.index, block);
        } finally {
          client.close();
        }
        return true;
      });
      this.check();
    }
  }

  /** One client: opens the volume, works until something breaks, and opens it again. */
  private async loop(
    sheep: HostSheep,
    step: (client: NbdClient, turn: number) => Promise<void>,
  ): Promise<void> {
    for (let turn = 0; !this.stopped && this.failure === undefined; ) {
      let client: NbdClient | undefined;
      try {
        client = await sheep.openVolume(VOLUME);
        this.clients.add(client);
        for (; !this.stopped && this.failure === undefined; turn++) {
          await step(client, turn);
          await sleep(systemClock, this.paceMs);
        }
      } catch {
        // The sheep is dead, or was: a request without an answer says nothing.
        await sleep(systemClock, AGAIN_MS);
      } finally {
        if (client !== undefined) this.clients.delete(client);
        client?.close();
      }
    }
  }

  private async write(client: NbdClient, sheep: number): Promise<void> {
    const block = this.blocks[sheep]!;
    const number = ++block.sent;
    const data = Buffer.alloc(BLOCK_BYTES);
    for (let at = 0; at < BLOCK_BYTES; at += 8) data.writeUInt32LE(number, at);
    const startMs = performance.now();
    await client.write(offsetOf(sheep), data);
    this.seen.push({ sheep, what: 'write', startMs, endMs: performance.now() });
    block.floor = Math.max(block.floor, number);
  }

  private async read(client: NbdClient, sheep: number, index: number): Promise<void> {
    const block = this.blocks[index]!;
    const floor = block.floor;
    const startMs = performance.now();
    const data = await client.read(offsetOf(index), BLOCK_BYTES);
    this.seen.push({ sheep, what: 'read', startMs, endMs: performance.now() });
    const number = data.readUInt32LE(0);
    const whole = Array.from({ length: BLOCK_BYTES / 8 }, (_, i) => data.readUInt32LE(i * 8)).every(
      (other) => other === number,
    );
    if (!whole || number < floor || number > block.sent) {
      const told = `${number}${whole ? '' : ' and others'}, wanted ${floor} to ${block.sent}`;
      this.failure ??= new Error(`block ${index} of the register, read through sheep ${sheep}: ${told}`);
    }
    block.floor = Math.max(block.floor, number);
  }
}

/** Each block in an object of its own: 4 MiB apart. */
function offsetOf(block: number): number {
  return block * 4 * 1024 * 1024;
}
