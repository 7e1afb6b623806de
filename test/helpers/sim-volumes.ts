/**
 * What happens to the set of volumes of a simulated cluster, told at the instant at which it happens: where the names
 * are kept, not where somebody hears of it. The model follows these, whoever asked for them and whatever the asker was
 * answered.
 */
export type VolumeChange =
  /** `from`: the snapshot whose content it begins with. */
  | {
      readonly type: 'created';
      readonly volume: string;
      readonly name: string;
      readonly sizeBytes: number;
      readonly from?: string;
    }
  | { readonly type: 'snapshot'; readonly volume: string; readonly version: string; readonly tag: string }
  | {
      readonly type: 'rolledBack';
      readonly volume: string;
      readonly to: string;
      readonly sizeBytes: number;
    }
  | { readonly type: 'resized'; readonly volume: string; readonly sizeBytes: number }
  | { readonly type: 'snapshotDeleted'; readonly version: string }
  /** The working volume; its snapshots may live on under its name. */
  | { readonly type: 'deleted'; readonly volume: string };
