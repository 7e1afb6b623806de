import type { Release } from '../base/range-lock.js';
import type { PeerMessage } from '../wire/peer-message.js';

/** A change that another gateway asked for. */
interface Entry {
  readonly answer: Promise<PeerMessage>;
  /** Set when it is done: its range stays locked until the gateway is known to have the answer. */
  release: Release | undefined;
}

/**
 * Changes that other gateways asked this owner for. A gateway whose link broke before the answer asks again, perhaps a
 * later owner; done twice, a change would wipe out what somebody else wrote over it in between. So its range stays
 * locked until the gateway has confirmed the answer or is out of the cluster, and a repetition here gets the first
 * answer. Bounded by what the gateways have in flight.
 */
export class Forwarded {
  private readonly byGateway = new Map<string, Map<bigint, Entry>>();

  /**
   * `work` is given a place to put the lock that it would otherwise release when it is done, and can ask whether its
   * gateway is still there: what has not begun when it goes never happens (I-2).
   */
  run(
    gateway: string,
    id: bigint,
    work: (keep: (release: Release) => void, isWanted: () => boolean) => Promise<PeerMessage>,
  ): Promise<PeerMessage> {
    let entries = this.byGateway.get(gateway);
    if (entries === undefined) {
      entries = new Map();
      this.byGateway.set(gateway, entries);
    }
    const known = entries.get(id);
    if (known !== undefined) return known.answer;
    let kept: Release | undefined;
    let entry: Entry | undefined;
    const isPresent = () => entry === undefined || this.byGateway.get(gateway)?.get(id) === entry;
    const answer = work((release) => {
      kept = release;
    }, isPresent);
    entry = { answer, release: undefined };
    entries.set(id, entry);
    answer.then(
      () => {
        // Confirmed, or its gateway gone, while it was under way.
        if (isPresent()) entry!.release = kept;
        else kept?.();
      },
      () => {
        // It failed and changed nothing for certain, or its session is over: it may be tried again.
        kept?.();
        this.drop(gateway, id);
      },
    );
    return answer;
  }

  /** The gateway has the answers to these changes. */
  confirm(gateway: string, ids: readonly bigint[]): void {
    for (const id of ids) this.drop(gateway, id);
  }

  /** Gateways that are gone ask for nothing again. */
  keepOnly(isPresent: (gateway: string) => boolean): void {
    for (const [gateway, entries] of [...this.byGateway]) {
      if (isPresent(gateway)) continue;
      for (const id of [...entries.keys()]) this.drop(gateway, id);
    }
  }

  /** Changes whose answers are not confirmed. */
  get size(): number {
    let count = 0;
    for (const entries of this.byGateway.values()) count += entries.size;
    return count;
  }

  private drop(gateway: string, id: bigint): void {
    const entries = this.byGateway.get(gateway);
    const entry = entries?.get(id);
    if (entries === undefined || entry === undefined) return;
    entries.delete(id);
    if (entries.size === 0) this.byGateway.delete(gateway);
    entry.release?.();
  }
}
