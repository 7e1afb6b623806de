import { type Clock, sleep } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import { isIdle, type OwnedVolume } from './owned-volume.js';

/** An owner that no local client uses gives the volume up after this: another gateway may have a use for it. */
const RELEASE_DELAY_MS = 300;
/** So long nothing new is begun, for what is under way to end. */
const DRAIN_MS = 200;
const DRAIN_STEP_MS = 5;
/** When it has not ended by then: a long operation, or a gateway that does not confirm its answers. */
const RELEASE_AGAIN_MS = 3000;

export interface ReleaserOptions {
  readonly clock: Clock;
  readonly log: Logger;
  /** Whether this gateway owns it still, and goes on working. */
  readonly isOwned: (owned: OwnedVolume) => boolean;
  readonly giveUp: (owned: OwnedVolume) => Promise<void>;
}

/**
 * Gives volumes up that no door of this gateway has open, so that whoever uses them can own them: after a guest has
 * moved to another host, its requests shall not go through the host that it left, nor wait for it when it dies.
 *
 * A busy client leaves no moment in which nothing is under way. Its requests are therefore refused with 'again' for as
 * long as those before them take, and done at the next owner, which is the client's own gateway as a rule.
 */
export class Releaser {
  constructor(private readonly options: ReleaserOptions) {}

  /** Gives the volume up in a while, if nobody here has opened it by then. */
  later(owned: OwnedVolume, delayMs = RELEASE_DELAY_MS): void {
    this.options.clock.after(delayMs, () => {
      this.release(owned).catch((error) => {
        this.options.log.warn({ err: AppError.from(error).message }, 'giving up a volume failed');
      });
    });
  }

  private async release(owned: OwnedVolume): Promise<void> {
    const { isOwned, giveUp } = this.options;
    if (owned.handles > 0 || owned.releasing || !isOwned(owned)) return;
    owned.releasing = true;
    const drained = await this.drain(owned);
    // Somebody else has ended it: the volume was deleted, the lease is lost, or this sheep stops.
    if (!isOwned(owned)) return;
    if (drained) return giveUp(owned);
    owned.releasing = false;
    // Who opened it meanwhile has been waiting, and says when it is closed again.
    this.later(owned, RELEASE_AGAIN_MS);
  }

  /** Waits until nothing is under way. */
  private async drain(owned: OwnedVolume): Promise<boolean> {
    for (let waitedMs = 0; !isIdle(owned) && waitedMs < DRAIN_MS; waitedMs += DRAIN_STEP_MS) {
      await sleep(this.options.clock, DRAIN_STEP_MS);
    }
    return isIdle(owned);
  }
}
