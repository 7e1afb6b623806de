/**
 * Rare events that a campaign wants to reach. A fault that never happens, or never where it hurts, proves nothing: so
 * each is counted, and what was never reached is said. The code under test tells of its own by what it logs.
 */
import type { SeedResult } from './swarm.js';

interface RareEvents {
  /** Messages of the program's log: the event has the message as its name. */
  readonly logged: readonly string[];
  /** Counters of the world (faults, network, clients, model). */
  readonly counted: readonly string[];
}

/** Reached by any 200 seeds. */
const often: RareEvents = {
  logged: [
    'a bad block was repaired',
    'a replica is made equal',
    'bad blocks found by a read: repairing from another replica',
    'catching up was interrupted, going on',
    'caught up',
    'freed a deleted version',
    'journal replayed',
    'peering failed, trying again',
    'removed objects that lie elsewhere now',
    'the lease was lost: this node stops serving and registers anew',
    'this node has been given its objects',
    'took a volume',
  ],
  counted: [
    'answered: again',
    'answered: no-object',
    'answered: old-epoch',
    'channel broken',
    'coordinator: answer lost',
    'coordinator: away for all',
    'coordinator: slow',
    'coordinator: watch lags',
    'disk: bit flipped in a block',
    'disk: bit flipped in a table',
    'disk: bit flipped in the journal of a dead process',
    'disk: full',
    'disk: write lost',
    'disk: write misdirected',
    'freeze',
    'kill of all',
    'kill while frozen',
    'member: copies altered',
    'member: disk lost',
    'member: drained and removed',
    'member: joined',
    'member: out and in',
    'member: recovery paused',
    'member: weight',
    'message of an old channel after a new one was open',
    'power cut of all',
    'power cut of one, lossy',
    'power cut of one, nothing may be lost',
    'sectors: a value that fits several writes',
    'sectors: acknowledged, may be lost by a power cut',
    'sectors: unanswered write seen',
    'start failed, tried again',
    'vdi.clone done',
    'vdi.delete done',
    'vdi.resize done',
    'vdi.rollback done',
    'vdi.snapshot: gateway died',
    'volume cloned',
  ],
};

/** Reached by some tens of thousands. */
const seldom: RareEvents = {
  logged: [
    'a deleted version is not freed yet',
    'a flush is repeated',
    'a node has been down for too long: its objects are placed elsewhere',
    'an inode keeps its old header',
    'an object cannot be settled',
    'an object that nobody refers to was not freed',
    'background work failed',
    'durable journal batches are lost: every object is suspect',
    'giving up a volume failed',
    'proposing an epoch failed',
    'registering failed, trying again',
    'settling was interrupted, going on',
    'tidying up a version failed',
  ],
  counted: [
    'answered: checksum',
    'answered: no-space',
    'kill while starting',
    'object that only its version still knows',
    'vdi.clone: gateway died',
    'vdi.create: gateway died',
    'vdi.delete: gateway died',
    'vdi.resize: gateway died',
    'vdi.rollback: gateway died',
    'write: error no-space',
  ],
};

const logged = new Set([...often.logged, ...seldom.logged]);

/** Counts those log messages that are events. */
export function eventCounter(counters: Record<string, number>): (message: string) => void {
  return (message) => {
    if (logged.has(message)) counters[message] = (counters[message] ?? 0) + 1;
  };
}

/** How often each counter was reached, and in how many seeds. */
export class Coverage {
  private readonly totals = new Map<string, { times: number; seeds: number }>();

  add({ counters }: Pick<SeedResult, 'counters'>): void {
    for (const [name, times] of Object.entries(counters)) {
      if (times === 0) continue;
      const total = this.totals.get(name) ?? { times: 0, seeds: 0 };
      total.times += times;
      total.seeds++;
      this.totals.set(name, total);
    }
  }

  /** Events that no seed has reached: those that 200 seeds should reach, and the others. */
  missing(): { often: string[]; seldom: string[] } {
    const never = (events: RareEvents) =>
      [...events.logged, ...events.counted].filter((name) => !this.totals.has(name));
    return { often: never(often), seldom: never(seldom) };
  }

  lines(): string[] {
    const names = [...this.totals.keys()].sort();
    const row = (times: unknown, seeds: unknown, name: string) =>
      `${String(times).padStart(12)} ${String(seeds).padStart(8)}  ${name}`;
    return [
      row('times', 'seeds', 'event'),
      ...names.map((name) => row(this.totals.get(name)!.times, this.totals.get(name)!.seeds, name)),
    ];
  }

  json(): Record<string, { times: number; seeds: number }> {
    return Object.fromEntries([...this.totals].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
