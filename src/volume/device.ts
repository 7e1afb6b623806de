/**
 * BlockDevice: the one shape of everything that can be read and written as a disk. Doors (NBD, `dog`, benchmarks)
 * see nothing else; wrappers for logging, delay, fault injection and QoS have the same shape.
 */
export interface BlockDeviceInfo {
  readonly name: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Smallest unit served without a read-modify-write, and the unit of holes. */
  readonly preferredBlockBytes: number;
  readonly objectBytes: number;
}

export interface WriteOptions {
  /** The write is on stable storage of every in-sync replica before it is acknowledged (I-1). */
  readonly fua?: boolean;
  /** The version (vid) the client means. Rejects with 'read-only' when the volume goes on as another one meanwhile. */
  readonly version?: number;
}

export interface ZeroOptions extends WriteOptions {
  /** False: the range must stay (or become) allocated. */
  readonly mayUnmap: boolean;
}

export interface Extent {
  readonly lengthBytes: number;
  /** A hole reads as zeros and occupies nothing. */
  readonly hole: boolean;
  readonly zero: boolean;
}

/** Offsets and lengths are bytes, any alignment, already checked against sizeBytes by the caller (the door). */
export interface BlockDevice {
  info(): BlockDeviceInfo;
  /** Resolves with exactly `length` bytes. The buffer belongs to the caller afterwards. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** `data` must not be changed before the promise settles. */
  write(offset: number, data: Uint8Array, options?: WriteOptions): Promise<void>;
  writeZeroes(offset: number, length: number, options: ZeroOptions): Promise<void>;
  discard(offset: number, length: number, options?: WriteOptions): Promise<void>;
  /** Everything acknowledged before this call, by whichever connection, is stable when it resolves. */
  flush(): Promise<void>;
  /** Extents covering [offset, offset + length) in order; at most `limit` of them (then they cover a prefix). */
  blockStatus(offset: number, length: number, limit: number): Promise<Extent[]>;
  /** Calls back when the size changed; returns the function that stops it. */
  onResize(listener: (sizeBytes: number) => void): () => void;
  /** Gives up the handle (not the volume). */
  close(): Promise<void>;
}

/** What a door asks for devices: every volume by name, and `name@tag` (or `name@id`) for a snapshot, read-only. */
export interface DeviceProvider {
  /** Rejects with AppError 'no-vdi', 'no-tag', ... */
  open(exportName: string, options?: { readOnly?: boolean }): Promise<BlockDevice>;
  /** Names of all exports, snapshots included. */
  list(): Promise<string[]>;
}
