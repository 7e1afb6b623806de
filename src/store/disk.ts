/**
 * The disk seam. Page-cache operations (open, read, write, rename ...) are synchronous: one costs a few
 * microseconds, far less than a trip through a thread pool, and a store whose steps cannot interleave is one that
 * can be reasoned about. Only `sync` and large or uncached reads are asynchronous. Every method may throw
 * DiskError. Paths are relative to the disk's root, with forward slashes.
 *
 * What a write promises: after `write` returns, killing the process cannot lose it; only `sync` (fdatasync)
 * makes it survive a power cut. New, renamed and removed names survive a power cut after `syncDir` of their folder.
 */
export interface Disk {
  /** Creates the file when `create` is set; with `exclusive` too, fails with 'exists' if it is there already. */
  open(path: string, options?: { create?: boolean; exclusive?: boolean }): DiskFile;
  exists(path: string): boolean;
  /** Names in a folder, sorted; empty when the folder does not exist. */
  list(folder: string): string[];
  /** Creates missing parents; does nothing when the folder is there. */
  mkdir(folder: string): void;
  rename(from: string, to: string): void;
  /** Atomic create-if-absent of a second name (link(2)); throws 'exists' when `to` is there. */
  link(from: string, to: string): void;
  unlink(path: string): void;
  rmdir(folder: string): void;
  syncDir(folder: string): Promise<void>;
  /** `device`: the same number for disks that share their room. */
  space(): { totalBytes: number; freeBytes: number; device?: number };
}

export interface DiskFile {
  readonly path: string;
  /** Reads up to buffer.length bytes; returns the count (short at the end of the file). May wait for the device. */
  read(buffer: Uint8Array, offset: number): number;
  /** Like read, but returns -1 instead of waiting when the bytes are not in memory. */
  tryRead(buffer: Uint8Array, offset: number): number;
  /** Reads through a thread: for what may be cold or large. Returns the count. */
  readAsync(buffer: Uint8Array, offset: number): Promise<number>;
  /** Forgets what memory holds of the range and the device has too: the next read asks the device. A mere hint. */
  evict?(offset: number, length: number): void;
  /** Writes all buffers, one after the other, from offset. All or an exception (then any part may be written). */
  write(buffers: readonly Uint8Array[], offset: number): void;
  /** One atomic O_APPEND write: never interleaved with other appenders. Needs a file opened by any process. */
  append(buffer: Uint8Array): void;
  /** Frees the range; it reads as zeros afterwards. The size stays. */
  punch(offset: number, length: number): void;
  /** Reserves room so that later writes in the range cannot fail for lack of space; grows the size if needed. */
  allocate(offset: number, length: number): void;
  truncate(size: number): void;
  size(): number;
  /** Names that the file has (hard links). */
  links(): number;
  /** Bytes really occupied on the device. */
  allocatedBytes(): number;
  /** fdatasync. When it fails, what was written since the last good sync is in doubt: the store must stop. */
  sync(): Promise<void>;
  close(): void;
}

export type DiskErrorCode =
  | 'exists'
  | 'missing'
  | 'no-space'
  | 'io'
  | 'read-only'
  | 'denied'
  | 'too-many-files';

export class DiskError extends Error {
  override readonly name = 'DiskError';
  readonly code: DiskErrorCode;

  constructor(code: DiskErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
