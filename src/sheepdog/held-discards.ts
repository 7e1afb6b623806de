import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { Client } from './operation.js';

/** Index entries of one connection that are held back; of more than that nothing is remembered. */
const HELD_ENTRIES_MAX = 1024 * 1024;

interface Hold {
  /** It has asked for something else: what it says of the index is a discard. */
  believed: boolean;
  held: (() => Promise<void>)[];
  heldEntries: number;
  /** What was held is being carried out: later requests wait for it. */
  running: Promise<void> | undefined;
}

const HOLD = Symbol('discards that are not believed yet');

/**
 * The original's worst defect (reference, D1): to delete a snapshot, QEMU zeroes the index of the volume that it has
 * open, on a connection of its own which it closes at once, and then deletes the snapshot: the volume's data would be
 * gone. A discard looks the same on the wire, but comes on QEMU's connection for I/O, which stays.
 *
 * So zeros for index entries are acknowledged and held back while their connection has done nothing else. When it
 * goes on to something else they are carried out, in order; when it closes, they never happen. Waiting would tell
 * nothing: a host may stand still for a while at any point. A discard is advice, so nothing that a client may rely on
 * is lost by that.
 */
export class HeldDiscards {
  constructor(private readonly log: Logger) {}

  /** To be called before each request of a connection. What it returns, if anything, comes first. */
  before(client: Client, isZeroing: boolean): Promise<void> | undefined {
    const hold = client.notes.get(HOLD) as Hold | undefined;
    if (hold === undefined) {
      const fresh: Hold = {
        believed: !isZeroing,
        held: [],
        heldEntries: 0,
        running: undefined,
      };
      client.notes.set(HOLD, fresh);
      if (isZeroing) this.watch(client, fresh);
      return undefined;
    }
    if (!isZeroing && !hold.believed) this.believe(hold);
    return hold.running;
  }

  /** Carries the discard of so many entries out, now or when its connection is believed. */
  async run(client: Client, entries: number, work: () => Promise<void>): Promise<void> {
    const hold = client.notes.get(HOLD) as Hold | undefined;
    if (hold === undefined || hold.believed) return work();
    hold.heldEntries += entries;
    if (hold.heldEntries <= HELD_ENTRIES_MAX) hold.held.push(work);
  }

  private watch(client: Client, hold: Hold): void {
    client.onClose(() => {
      if (hold.held.length === 0) return;
      this.log.info(
        { writes: hold.held.length },
        'zeros for an index came from a client that left: nothing is discarded',
      );
      hold.held = [];
    });
  }

  private believe(hold: Hold): void {
    if (hold.believed) return;
    hold.believed = true;
    const { held } = hold;
    hold.held = [];
    if (held.length === 0) return;
    hold.running = (async () => {
      for (const work of held) {
        await work().catch((error) => {
          this.log.warn({ err: AppError.from(error).message }, 'a discard failed');
        });
      }
      hold.running = undefined;
    })();
  }
}
