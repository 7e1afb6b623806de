/**
 * The system calls that Node's fs lacks: fallocate (reserve, punch), preadv2 with RWF_NOWAIT, posix_fadvise, flock,
 * fcntl. Beside fuse/device-calls.ts the only file that knows koffi. Where the platform has no such call, `available`
 * is false and callers fall back.
 */
import { constants } from 'node:os';
import koffi from 'koffi';

const FALLOC_FL_KEEP_SIZE = 1;
const FALLOC_FL_PUNCH_HOLE = 2;
const RWF_NOWAIT = 8;
const POSIX_FADV_DONTNEED = 4;
const LOCK_EX = 2;
const LOCK_NB = 4;
const F_DUPFD_CLOEXEC = 1030;

type IntCall = (...args: unknown[]) => number;

interface Libc {
  fallocate: IntCall;
  preadv2: IntCall;
  fadvise: IntCall;
  flock: IntCall;
  fcntl: IntCall;
}

function load(): Libc | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    const libc = koffi.load(null);
    return {
      fallocate: libc.func('int fallocate(int fd, int mode, int64_t offset, int64_t length)') as IntCall,
      preadv2: libc.func(
        'intptr_t preadv2(int fd, const void *iov, int count, int64_t offset, int flags)',
      ) as IntCall,
      fadvise: libc.func('int posix_fadvise(int fd, int64_t offset, int64_t length, int advice)') as IntCall,
      flock: libc.func('int flock(int fd, int operation)') as IntCall,
      fcntl: libc.func('int fcntl(int fd, int command, ...)') as IntCall,
    };
  } catch {
    // A libc without one of them (old musl): everything below reports 'unsupported' and the callers fall back.
    return undefined;
  }
}

const libc = load();

const names = new Map<number, string>(Object.entries(constants.errno).map(([name, value]) => [value, name]));
// Of the numbers with two names (EWOULDBLOCK, ENOTSUP) the one that is asked for here.
for (const name of ['EAGAIN', 'EOPNOTSUPP'] as const) names.set(constants.errno[name], name);

/** Shaped like the errors of node:fs, so that one function maps both. */
function failure(call: string): NodeJS.ErrnoException {
  const code = names.get(koffi.errno()) ?? 'EIO';
  return Object.assign(new Error(`${call}: ${code}`), { code });
}

const unsupported = (call: string) =>
  Object.assign(new Error(`${call}: unsupported`), { code: 'EOPNOTSUPP' });

/** Frees the range; the file keeps its size. Throws an error with `code` (EOPNOTSUPP where it cannot be done). */
export function punchHole(fd: number, offset: number, length: number): void {
  if (!libc) throw unsupported('fallocate');
  if (libc.fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length) !== 0) {
    throw failure('fallocate');
  }
}

/** Reserves room for the range and grows the file to its end. Throws an error with `code`. */
export function allocateRange(fd: number, offset: number, length: number): void {
  if (!libc) throw unsupported('fallocate');
  if (libc.fallocate(fd, 0, offset, length) !== 0) throw failure('fallocate');
}

/** Drops clean pages of the range from the page cache; where that cannot be done, nothing happens. */
export function evictRange(fd: number, offset: number, length: number): void {
  libc?.fadvise(fd, offset, length, POSIX_FADV_DONTNEED);
}

/** Takes an advisory lock for the life of the descriptor; false when another process holds it. */
export function tryLock(fd: number): boolean {
  if (!libc) return true;
  return libc.flock(fd, LOCK_EX | LOCK_NB) === 0;
}

/**
 * Another descriptor of the same open file or socket, which children do not inherit by themselves. Throws an error
 * with `code`.
 */
export function duplicate(fd: number): number {
  if (!libc) throw unsupported('fcntl');
  const copy = libc.fcntl(fd, F_DUPFD_CLOEXEC, 'int', 0);
  if (copy < 0) throw failure('fcntl');
  return copy;
}

// One vector, reused: calls are synchronous and never nest.
const vector = new BigUint64Array(2);
const vectorBytes = Buffer.from(vector.buffer);
let noWait = libc !== undefined && libc.preadv2 !== undefined;

/**
 * Reads only what is in the page cache: the count, or -1 when the kernel would have to wait for the device,
 * or -2 when the call is not supported here (remembered).
 */
export function readNoWait(fd: number, buffer: Uint8Array, offset: number): number {
  if (!noWait || !libc) return -2;
  vector[0] = koffi.address(buffer);
  vector[1] = BigInt(buffer.length);
  const count = libc.preadv2(fd, vectorBytes, 1, offset, RWF_NOWAIT);
  if (count >= 0) return count;
  const code = names.get(koffi.errno());
  if (code === 'EAGAIN') return -1;
  if (code === 'EOPNOTSUPP' || code === 'ENOSYS') {
    if (code === 'ENOSYS') noWait = false;
    return -2;
  }
  throw failure('preadv2');
}
