/**
 * The time between the loss of a disk and the moment when everybody who must know of it does: the record on the other
 * disks, so that a restart cannot forget it, and the cluster, so that nobody takes this node for one that has all its
 * objects. Meanwhile the set is blind: what it does not find may exist.
 */
import { AppError } from '../../base/errors.js';
import { Signal } from '../../base/signal.js';

export class Losses {
  /** Disks lost since the set was opened. */
  count = 0;
  private admitted = 0;
  private recorded = 0;
  private seeing: Signal<void> | undefined;

  /** `onSeeing`: called when the set is not blind any more. */
  constructor(private readonly onSeeing: () => void) {}

  get blind(): boolean {
    return this.seeing !== undefined;
  }

  /** A disk is lost: blind from now on. Returns the number of the loss. */
  begin(): number {
    this.seeing ??= new Signal();
    return ++this.count;
  }

  /** All losses up to this number are on record. */
  record(loss: number): void {
    this.recorded = Math.max(this.recorded, loss);
    this.look();
  }

  /** The cluster knows of all losses so far. */
  admit(): void {
    this.admitted = this.count;
    this.look();
  }

  /** Resolves when the set is not blind, or when it closes. */
  async over(): Promise<void> {
    await this.seeing?.promise;
  }

  /** Nobody waits any longer; the set stays blind. */
  close(): void {
    this.seeing?.fire();
  }

  private look(): void {
    const { seeing } = this;
    if (seeing === undefined || this.admitted < this.count || this.recorded < this.count) return;
    this.seeing = undefined;
    this.onSeeing();
    seeing.fire();
  }
}

/** What a request gets that a lost disk could have answered: not a refusal, and not 'no-object'. */
export function diskLost(): AppError {
  return new AppError('again', 'a disk of this node was lost');
}
