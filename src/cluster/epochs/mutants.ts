/** A deliberately broken build, which the simulator must catch. Never set outside of it. */
export interface Mutants {
  readonly ackBeforeReplicas?: boolean;
  readonly skipJournalSync?: boolean;
  readonly serveStaleReplica?: boolean;
  /** I-2: bytes that may not be on all replicas are read from this node's own. */
  readonly nearUncommitted?: boolean;
  /** I-2: what an epoch's end left in doubt is not told to the next primary. */
  readonly hideUnsettled?: boolean;
  /** I-3: what was sent in an epoch that is over is still done, also when its sender has been excluded since. */
  readonly acceptOldEpochs?: boolean;
  /** I-4: writes do not wait for enough copies. */
  readonly tooFewCopies?: boolean;
  /** I-5: whoever is up serves when nobody with the newest content is. */
  readonly serveOlder?: boolean;
  /** I-6: the volume does not hold still for its snapshot. */
  readonly movingSnapshot?: boolean;
  /** I-6: a deletion frees what others still refer to. */
  readonly freeShared?: boolean;
  /** I-9: a volume that has an owner can be claimed. */
  readonly twoOwners?: boolean;
  /** D-5: what was touched during an absence is not compared. */
  readonly skipTouched?: boolean;
  /** D-4: a node says that it has everything before it has. */
  readonly moveUnfinished?: boolean;
  /** D-4: objects are removed from where a move has just put them. */
  readonly strayTargets?: boolean;
}
