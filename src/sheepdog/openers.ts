import { sleep } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Client } from './operation.js';
import type { DoorParts } from './parts.js';

/** QEMU reconnects once a second: a lock outlives its connections by this, and then dies with its client (I-9). */
const GRACE_MS = 5000;
/** A sheep that died is out of the cluster by then. */
const RELOCK_MS = 10_000;
const RETRY_MS = 100;

/** A lock that was taken through this sheep. */
interface Opening {
  readonly id: string;
  readonly line: string;
  readonly address: string;
  readonly shared: boolean;
  /** Connections that may belong to its client: it lives while one of them does. */
  readonly maybe: Set<Client>;
  /** Those that do: they have worked on the volume. */
  readonly sure: Set<Client>;
}

const OPENING = Symbol('the lock a connection works under');

/**
 * Which connection belongs to which lock. The protocol does not say: QEMU connects, then takes the lock on a second
 * connection which it closes, and uses the first one later. So a lock belongs to connections from its address that
 * had said nothing when it was taken, until one of them is seen at work on the volume.
 */
export class Openers {
  private readonly openings = new Map<string, Opening>();

  constructor(
    private readonly parts: DoorParts,
    private readonly silentFrom: (address: string) => Client[],
  ) {}

  async lock(client: Client, line: string, shared: boolean): Promise<void> {
    const { address } = client;
    const id = await this.parts.locks.lock(line, shared);
    let opening = this.openings.get(id);
    if (opening === undefined) {
      opening = { id, line, address, shared, maybe: new Set(), sure: new Set() };
      this.openings.set(id, opening);
    }
    for (const other of [client, ...this.silentFrom(address)]) this.watch(opening, other);
  }

  /** Gives up the newest lock that fits; true when there was one. */
  async release(client: Client, line: string, shared: boolean): Promise<boolean> {
    const fitting = this.of(line).filter((o) => o.shared === shared && o.address === client.address);
    // After a migration both sides may be here: it is the one that was left that goes.
    const { locks } = this.parts;
    const opening =
      fitting.find((o) => locks.isFenced(line, o.id)) ??
      fitting.filter((o) => o.sure.size === 0).at(-1) ??
      fitting.at(-1);
    if (opening === undefined) return false;
    await this.end(opening);
    return true;
  }

  /** Before a connection changes data: rejects when somebody else has the volume by now. */
  async mayWrite(client: Client, line: string): Promise<void> {
    const { locks } = this.parts;
    const opening = await this.openingOf(client, line);
    if (opening === undefined) return;
    if (locks.isFenced(line, opening.id)) {
      throw new AppError('vdi-locked', 'the volume has been taken over by another client');
    }
    await locks.takeOver(line, opening.id);
  }

  /** The same question without waiting: true when nothing has to be asked or noted. */
  mayWriteNow(client: Client, line: string): boolean {
    const { locks } = this.parts;
    const opening = client.notes.get(OPENING) as Opening | undefined;
    if (opening === undefined) return !locks.exclusive && this.openings.size === 0;
    return opening.line === line && locks.isAlone(line, opening.id);
  }

  private async openingOf(client: Client, line: string): Promise<Opening | undefined> {
    const known = client.notes.get(OPENING) as Opening | undefined;
    const { locks } = this.parts;
    if (known?.line === line && locks.has(line, known.id)) return known;
    const found = this.find(client, line);
    if (found !== undefined) {
      this.settle(found, client);
      return found;
    }
    // A lock dies with its sheep. Whoever goes on working takes it anew, unless somebody else has it (I-9).
    if (!locks.exclusive) return undefined;
    await this.lockAgain(client, line);
    return this.openingOf(client, line);
  }

  /** The lock that is in the way may be this client's own, of a sheep whose end is not known yet. */
  private async lockAgain(client: Client, line: string): Promise<void> {
    const { clock } = this.parts;
    const untilMs = clock.nowMs() + RELOCK_MS;
    for (;;) {
      try {
        return await this.lock(client, line, false);
      } catch (error) {
        if (!AppError.isCode(error, 'vdi-locked') || clock.nowMs() > untilMs) throw error;
      }
      await sleep(clock, RETRY_MS);
    }
  }

  private find(client: Client, line: string): Opening | undefined {
    const { locks } = this.parts;
    const here = this.of(line).filter((o) => o.address === client.address && locks.has(line, o.id));
    const maybe = here.filter((o) => o.maybe.has(client));
    // Of those that lost their connection a moment ago, one is likely to be this client's.
    return (
      maybe.filter((o) => o.sure.size === 0).at(-1) ??
      maybe.at(-1) ??
      here.filter((o) => o.maybe.size === 0).at(-1) ??
      here.at(-1)
    );
  }

  /** The connection is at work under this lock, so it belongs to no other. */
  private settle(opening: Opening, client: Client): void {
    for (const other of this.openings.values()) {
      if (other !== opening && other.maybe.delete(client)) this.checkLater(other);
    }
    this.watch(opening, client);
    opening.sure.add(client);
    client.notes.set(OPENING, opening);
  }

  private watch(opening: Opening, client: Client): void {
    if (opening.maybe.has(client)) return;
    opening.maybe.add(client);
    client.onClose(() => {
      opening.maybe.delete(client);
      opening.sure.delete(client);
      this.checkLater(opening);
    });
  }

  private checkLater(opening: Opening): void {
    if (opening.maybe.size > 0) return;
    this.parts.clock.after(GRACE_MS, () => {
      if (opening.maybe.size > 0 || this.openings.get(opening.id) !== opening) return;
      this.end(opening).catch((error) => {
        this.parts.log.warn({ err: AppError.from(error).message }, 'the lock of a client that is gone stays');
      });
    });
  }

  private async end(opening: Opening): Promise<void> {
    this.openings.delete(opening.id);
    for (const client of opening.sure) client.notes.delete(OPENING);
    await this.parts.locks.unlock(opening.line, (holder) => holder.id === opening.id);
  }

  private of(line: string): Opening[] {
    return [...this.openings.values()].filter((opening) => opening.line === line);
  }
}
