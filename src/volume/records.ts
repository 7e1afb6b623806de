/**
 * What the coordinator holds of volumes (D-17): small records, so that look-up, listing and creation never read inodes.
 * A line is a volume as people name it: its working VDI and all its snapshots. A VDI is one inode: a version of a line.
 * The records are the truth; an inode's header repeats them for clients of the protocol and for rebuilding offline.
 */
export interface LineRecord {
  /** 12 hex digits, random, never reused. */
  readonly id: string;
  readonly name: string;
  /** The working VDI. */
  readonly vid: number;
  /** Rises each time the line gets a working VDI that it did not have: two creations cannot both see it free. */
  readonly generation?: number;
}

export interface VdiRecord {
  readonly vid: number;
  readonly line: string;
  /**
   * Of a snapshot; '' when it was made without one. Of a working VDI: what clients of the sheepdog protocol wrote into
   * its header for the snapshot they are about to make.
   */
  readonly tag: string;
  /** 1, 2, ...: the working VDI has the highest of its line. */
  readonly snapId: number;
  /** VDI it was made from; 0: none. */
  readonly parent: number;
  /** First VDI of the family: decides where the data of all of them lies (D-16). */
  readonly root: number;
  readonly sizeBytes: number;
  readonly copies: number;
  readonly blockSizeShift: number;
  readonly createdMs: number;
  /** 0: this is the working VDI. */
  readonly snapshotMs: number;
  /**
   * pending: its inode is being written; forgotten if the node dies before it is done. deleted: nobody sees it, its
   * unshared objects are being freed or have been; the record stays while descendants need it to find each other.
   */
  readonly state: 'pending' | 'live' | 'deleted';
  /** pending: who writes it. */
  readonly maker?: { nodeId: string; incarnation: string };
  /** deleted, or pending and given up: who removes what is left. Nobody else does, while that start of it is up. */
  readonly cleaner?: { nodeId: string; incarnation: string; attempt?: number };
  /** deleted: everything that nobody shares is gone. */
  readonly freed?: boolean;
  /** Size of the machine state that was saved with it, and the guest's clock then, as decimal digits. */
  readonly vmStateBytes?: number;
  readonly vmClockNs?: string;
  /** Vmstate objects are numbered below this; some may be missing. */
  readonly vmObjects?: number;
  /** Of a snapshot or an image, for ever: objects of its own, objects of ancestors. */
  readonly usage?: Usage;
  /**
   * There may be objects of its own at places where its index names an ancestor's: copies that an owner was making when
   * it died or failed. They go with the version.
   */
  readonly loose?: true;
  /** The volume is an image: a working version that nobody can change, which has no owner. */
  readonly image?: ImageMark;
}

/** What is known of the file that an image was made from. */
export interface ImageMark {
  /** Bytes of the file; the volume is rounded up to whole sectors. */
  readonly contentBytes: number;
  /** Of exactly these bytes, as 64 hexadecimal digits. */
  readonly sha256: string;
}

export interface Usage {
  readonly own: number;
  readonly shared: number;
}

/** It never changes: a snapshot or an image. */
export function isFrozen(record: VdiRecord): boolean {
  return record.snapshotMs > 0 || record.image !== undefined;
}

export const VOLUME_PREFIX = 'v/';
export const OWNER_PREFIX = 'owner/';

export const keys = {
  vdi: (vid: number) => `v/vdi/${vid.toString(16).padStart(6, '0')}`,
  line: (id: string) => `v/line/${id}`,
  name: (name: string) => `v/name/${name}`,
  /** How much of a working VDI is allocated, while nobody has it open. */
  usage: (vid: number) => `v/usage/${vid.toString(16).padStart(6, '0')}`,
  attribute: (line: string, key: string) => `attr/${line}/${key}`,
  owner: (line: string) => `${OWNER_PREFIX}${line}`,
  /** The last change of records that a node made; one key for each that it may have under way at once. */
  commit: (nodeId: string, slot: number) => `commit/${nodeId}/${slot}`,
};

/** Of the key of a version's record; undefined: another key. */
export function vidOfKey(key: string): number | undefined {
  const found = /^v\/vdi\/([0-9a-f]{6})$/.exec(key);
  return found === null ? undefined : Number.parseInt(found[1]!, 16);
}

export interface OwnerRecord {
  readonly nodeId: string;
  readonly incarnation: string;
  /** Tells the claims of one start of a node apart: giving up an old one must never undo a newer one. */
  readonly claim: number;
}

/** What a client of the protocol writes into the header of a working VDI; left out: stays as it is. */
export interface Marks {
  readonly tag?: string | undefined;
  readonly vmStateBytes?: number | undefined;
  readonly vmClockNs?: string | undefined;
}
