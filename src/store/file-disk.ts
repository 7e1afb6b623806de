/**
 * The Disk over a real directory: node:fs for nearly everything, `syscalls.ts` for holes, room and reads that must
 * not wait. The only file of this folder that touches the file system.
 */
import * as fs from 'node:fs';
import { type Disk, DiskError, type DiskErrorCode, type DiskFile } from './disk.js';
import { allocateRange, evictRange, punchHole, readNoWait, tryLock } from './syscalls.js';

const codes: Readonly<Record<string, DiskErrorCode>> = {
  EEXIST: 'exists',
  ENOTEMPTY: 'exists',
  ENOENT: 'missing',
  ENOTDIR: 'missing',
  ENOSPC: 'no-space',
  EDQUOT: 'no-space',
  EROFS: 'read-only',
  EACCES: 'denied',
  EPERM: 'denied',
  EMFILE: 'too-many-files',
  ENFILE: 'too-many-files',
};

/** Any error of fs or a system call as a DiskError; what is not in the table is 'io'. */
export function toDiskError(error: unknown, what: string): DiskError {
  if (error instanceof DiskError) return error;
  const { code, message } = error as NodeJS.ErrnoException;
  return new DiskError(codes[code ?? ''] ?? 'io', `${what}: ${message}`, { cause: error });
}

/**
 * Opens an existing directory as a disk. With `lock`, at most one process may hold it so (DiskError 'exists'
 * otherwise); the lock dies with the process. Throws DiskError 'missing' | 'denied' | 'read-only' | 'exists'.
 */
export function openFileDisk(root: string, options: { lock?: boolean } = {}): Disk {
  let stat: fs.Stats;
  try {
    stat = fs.statSync(root);
  } catch (error) {
    throw toDiskError(error, `directory ${root}`);
  }
  if (!stat.isDirectory()) throw new DiskError('missing', `${root} is not a directory`);
  if (options.lock) lockDirectory(root);
  return new FileDisk(root);
}

/**
 * Takes the directory for this process; DiskError 'exists' when another one has it. The lock lives as long as the
 * descriptor that is returned, or one that a successor inherited.
 */
export function lockDirectory(root: string): number {
  let fd: number;
  try {
    fd = fs.openSync(`${root}/lock`, 'a');
  } catch (error) {
    throw toDiskError(error, `directory ${root}`);
  }
  // The descriptor stays open on purpose: the lock lives as long as the process.
  if (tryLock(fd)) return fd;
  fs.closeSync(fd);
  throw new DiskError('exists', `directory ${root} is in use by another process`);
}

/**
 * Most bytes of one system call. Linux caches in one folio what one call wrote, and a later write of 4 KiB walks all
 * blocks of its folio: in folios of 1 MiB it costs three times the processor time.
 */
const PIECE_BYTES = 128 * 1024;

class FileDisk implements Disk {
  constructor(private readonly root: string) {}

  open(path: string, options: { create?: boolean; exclusive?: boolean } = {}): DiskFile {
    const { O_RDWR, O_RDONLY, O_CREAT, O_EXCL } = fs.constants;
    const create = options.create ? O_CREAT | (options.exclusive ? O_EXCL : 0) : 0;
    const full = this.full(path);
    try {
      return new PlainFile(path, full, fs.openSync(full, O_RDWR | create, 0o640));
    } catch (error) {
      const mapped = toDiskError(error, path);
      // A disk that may only be read still serves reads (I-8); a write to the file will say so.
      if (create !== 0 || (mapped.code !== 'read-only' && mapped.code !== 'denied')) throw mapped;
    }
    return this.guard(path, () => new PlainFile(path, full, fs.openSync(full, O_RDONLY)));
  }

  exists(path: string): boolean {
    return fs.existsSync(this.full(path));
  }

  list(folder: string): string[] {
    try {
      return fs.readdirSync(this.full(folder)).sort();
    } catch (error) {
      const mapped = toDiskError(error, folder);
      if (mapped.code === 'missing') return [];
      throw mapped;
    }
  }

  mkdir(folder: string): void {
    this.guard(folder, () => fs.mkdirSync(this.full(folder), { recursive: true, mode: 0o750 }));
  }

  rename(from: string, to: string): void {
    this.guard(to, () => fs.renameSync(this.full(from), this.full(to)));
  }

  link(from: string, to: string): void {
    this.guard(to, () => fs.linkSync(this.full(from), this.full(to)));
  }

  unlink(path: string): void {
    this.guard(path, () => fs.unlinkSync(this.full(path)));
  }

  rmdir(folder: string): void {
    this.guard(folder, () => fs.rmdirSync(this.full(folder)));
  }

  async syncDir(folder: string): Promise<void> {
    const fd = this.guard(folder, () => fs.openSync(this.full(folder), fs.constants.O_RDONLY));
    try {
      await settle(folder, (done) => fs.fsync(fd, done));
    } finally {
      fs.closeSync(fd);
    }
  }

  space(): { totalBytes: number; freeBytes: number; device: number } {
    const stat = this.guard('.', () => fs.statfsSync(this.root));
    const { dev } = this.guard('.', () => fs.statSync(this.root));
    return { totalBytes: stat.blocks * stat.bsize, freeBytes: stat.bavail * stat.bsize, device: dev };
  }

  private full(path: string): string {
    return path === '' || path === '.' ? this.root : `${this.root}/${path}`;
  }

  private guard<T>(what: string, run: () => T): T {
    try {
      return run();
    } catch (error) {
      throw toDiskError(error, what);
    }
  }
}

function settle(what: string, start: (done: (error: Error | null) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    start((error) => (error ? reject(toDiskError(error, what)) : resolve()));
  });
}

class PlainFile implements DiskFile {
  private appendFd = -1;

  constructor(
    readonly path: string,
    private readonly full: string,
    private readonly fd: number,
  ) {}

  read(buffer: Uint8Array, offset: number): number {
    try {
      let done = 0;
      while (done < buffer.length) {
        const count = fs.readSync(this.fd, buffer, done, buffer.length - done, offset + done);
        if (count === 0) break;
        done += count;
      }
      return done;
    } catch (error) {
      throw toDiskError(error, this.path);
    }
  }

  tryRead(buffer: Uint8Array, offset: number): number {
    try {
      const count = readNoWait(this.fd, buffer, offset);
      return count === -2 ? this.read(buffer, offset) : count;
    } catch (error) {
      throw toDiskError(error, this.path);
    }
  }

  readAsync(buffer: Uint8Array, offset: number): Promise<number> {
    return new Promise((resolve, reject) => {
      fs.read(this.fd, buffer, 0, buffer.length, offset, (error, count) => {
        if (error) reject(toDiskError(error, this.path));
        else resolve(count);
      });
    });
  }

  evict(offset: number, length: number): void {
    evictRange(this.fd, offset, length);
  }

  write(buffers: readonly Uint8Array[], offset: number): void {
    try {
      if (buffers.length === 1) {
        this.writeOne(buffers[0]!, offset);
        return;
      }
      // More than 1024 buffers exceed IOV_MAX.
      for (let first = 0, at = offset; first < buffers.length; first += 1024) {
        at = this.writeSome(buffers.slice(first, first + 1024), at);
      }
    } catch (error) {
      throw toDiskError(error, this.path);
    }
  }

  private writeSome(buffers: readonly Uint8Array[], offset: number): number {
    let total = 0;
    for (const buffer of buffers) total += buffer.length;
    const count = fs.writevSync(this.fd, buffers as Uint8Array[], offset);
    // A short write is rare (a nearly full disk): the rest is written piece by piece.
    for (let index = 0, at = 0; count < total && index < buffers.length; index++) {
      const buffer = buffers[index]!;
      const end = at + buffer.length;
      if (end > count) {
        const from = Math.max(0, count - at);
        this.writeOne(buffer.subarray(from), offset + at + from);
      }
      at = end;
    }
    return offset + total;
  }

  private writeOne(buffer: Uint8Array, offset: number): void {
    let done = 0;
    while (done < buffer.length) {
      const length = Math.min(buffer.length - done, PIECE_BYTES);
      done += fs.writeSync(this.fd, buffer, done, length, offset + done);
    }
  }

  append(buffer: Uint8Array): void {
    try {
      // pwrite ignores its offset on an O_APPEND descriptor, so appending needs one of its own.
      if (this.appendFd < 0)
        this.appendFd = fs.openSync(this.full, fs.constants.O_WRONLY | fs.constants.O_APPEND);
      const count = fs.writeSync(this.appendFd, buffer, 0, buffer.length);
      if (count !== buffer.length) throw new DiskError('io', `${this.path}: short append`);
    } catch (error) {
      throw toDiskError(error, this.path);
    }
  }

  punch(offset: number, length: number): void {
    try {
      punchHole(this.fd, offset, length);
    } catch (error) {
      const mapped = toDiskError(error, this.path);
      if ((error as NodeJS.ErrnoException).code !== 'EOPNOTSUPP') throw mapped;
      this.zeroFill(offset, Math.min(length, this.size() - offset));
    }
  }

  /** Where the file system has no holes, zeros are written instead: right, but no room is freed. */
  private zeroFill(offset: number, length: number): void {
    const zeros = new Uint8Array(Math.max(0, Math.min(length, 1 << 20)));
    for (let done = 0; done < length; done += zeros.length) {
      this.write([zeros.subarray(0, Math.min(zeros.length, length - done))], offset + done);
    }
  }

  allocate(offset: number, length: number): void {
    try {
      allocateRange(this.fd, offset, length);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EOPNOTSUPP') throw toDiskError(error, this.path);
      // No reservation here: only the size is kept, and a later write may meet a full disk.
      if (this.size() < offset + length) this.truncate(offset + length);
    }
  }

  truncate(size: number): void {
    try {
      fs.ftruncateSync(this.fd, size);
    } catch (error) {
      throw toDiskError(error, this.path);
    }
  }

  size(): number {
    try {
      return fs.fstatSync(this.fd).size;
    } catch (error) {
      throw toDiskError(error, this.path);
    }
  }

  links(): number {
    try {
      return fs.fstatSync(this.fd).nlink;
    } catch (error) {
      throw toDiskError(error, this.path);
    }
  }

  allocatedBytes(): number {
    try {
      return fs.fstatSync(this.fd).blocks * 512;
    } catch (error) {
      throw toDiskError(error, this.path);
    }
  }

  sync(): Promise<void> {
    return settle(this.path, (done) => fs.fdatasync(this.fd, done));
  }

  close(): void {
    if (this.appendFd >= 0) fs.closeSync(this.appendFd);
    fs.closeSync(this.fd);
  }
}
