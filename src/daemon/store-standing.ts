import { AppError } from '../base/errors.js';
import type { Logger } from '../base/log.js';
import type { Membership } from '../cluster/epochs/membership.js';
import type { ClusterView } from '../cluster/epochs/view.js';
import type { ObjectStore } from '../store/object-store.js';

/**
 * What this node's store has lost, and how the cluster is told of it: unsynced writes (a power cut) and whole objects
 * (a disk). A loss is told once, by registering with it, and forgotten by the store only when the epochs show that it
 * has been made up for.
 */
export class StoreStanding {
  private store: ObjectStore | undefined;
  private lossyUntold = false;
  /** The start of this node whose loss of objects an epoch has shown. */
  private incompleteSeen = '';

  constructor(
    private readonly membership: () => Membership,
    private readonly log: Logger,
  ) {}

  /** For the registration. */
  get lossy(): boolean {
    return this.lossyUntold;
  }

  get incomplete(): boolean {
    return this.store?.incomplete ?? false;
  }

  attach(store: ObjectStore): void {
    this.store = store;
    this.lossyUntold = store.lossy;
    store.onIncomplete((reason) => {
      if (store !== this.store) return;
      // Whatever this node said about having everything is void: others take over until it has it again.
      void this.membership().startAnew(`a disk is lost: ${reason.message}`);
    });
  }

  detach(): void {
    this.store = undefined;
    this.lossyUntold = false;
  }

  /** Called with every view, after the cluster node has entered it. */
  note(view: ClusterView): void {
    this.forgetTouched(view);
    const { self } = view;
    if (self === undefined || !self.up || self.incarnation !== this.membership().incarnation) return;
    this.noteObjects(self.incomplete ?? false);
    if (!this.lossyUntold && !this.store?.lossy) return;
    this.lossyUntold = false;
    if (self.behindSince === undefined) this.try(this.store?.clearLossy(), 'the store stays marked as lossy');
  }

  private noteObjects(incomplete: boolean): void {
    const { store } = this;
    if (store === undefined || !store.incomplete) return;
    const { incarnation } = this.membership();
    if (incomplete) {
      this.incompleteSeen = incarnation;
      store.admitIncomplete();
    } else if (this.incompleteSeen === incarnation) {
      this.try(store.clearIncomplete(), 'the store stays marked as incomplete');
    }
  }

  /** When everybody has everything, only what a power cut could still take away has to be remembered (D-5). */
  private forgetTouched(view: ClusterView): void {
    const { epoch, base, nodes } = view.history.current;
    if (base !== epoch) return;
    const sure = Math.min(epoch, ...nodes.filter((n) => n.placed !== undefined).map((n) => n.sureEpoch ?? 1));
    this.try(this.store?.forgetTouchedBefore(sure), 'old records of touched objects stay');
  }

  private try(work: Promise<void> | undefined, otherwise: string): void {
    work?.catch((error) => this.log.warn({ err: AppError.from(error).message }, otherwise));
  }
}
