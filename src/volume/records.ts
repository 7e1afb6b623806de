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
}

export interface VdiRecord {
  readonly vid: number;
  readonly line: string;
  /** Of a snapshot; '' when it was made without one. */
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
  /** deleted: everything that nobody shares is gone. */
  readonly freed?: boolean;
  /** Of a snapshot, for ever: objects of its own, objects of ancestors. */
  readonly usage?: Usage;
}

export interface Usage {
  readonly own: number;
  readonly shared: number;
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
};

export interface OwnerRecord {
  readonly nodeId: string;
  readonly incarnation: string;
  /** Tells the claims of one start of a node apart: giving up an old one must never undo a newer one. */
  readonly claim: number;
}
