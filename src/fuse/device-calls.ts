/**
 * The system calls of the data loop that Node's fs has not, or only at several times their price: poll, and read and
 * writev that answer with a number instead of an exception. Beside store/syscalls.ts the only file that knows koffi.
 */
import { constants } from 'node:os';
import koffi from 'koffi';

type IntCall = (...args: unknown[]) => number;

const libc = koffi.load(null);
const pollCall = libc.func('int poll(void *fds, unsigned long count, int timeoutMs)') as IntCall;
const readCall = libc.func('intptr_t read(int fd, void *buffer, size_t count)') as IntCall;
const writevCall = libc.func('intptr_t writev(int fd, const void *iov, int count)') as IntCall;
const fcntlCall = libc.func('int fcntl(int fd, int command, ...)') as IntCall;

const F_GETFL = 3;
const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const POLLIN = 1;
const POLLFD_BYTES = 8;
const REVENTS_AT = 6;
const IOVEC_BYTES = 16;
/** The system's own limit on the parts of one writev. */
export const PARTS_MAX = 1024;

/** Descriptors that are waited for together. */
export class PollSet {
  private readonly records: Buffer;

  constructor(private readonly fds: readonly number[]) {
    this.records = Buffer.allocUnsafeSlow(fds.length * POLLFD_BYTES);
    fds.forEach((fd, i) => {
      this.records.writeInt32LE(fd, i * POLLFD_BYTES);
      this.records.writeInt16LE(POLLIN, i * POLLFD_BYTES + 4);
    });
  }

  /** Waits until one is readable (or broken), or the time is over: how many are. Without the first if `skipFirst`. */
  wait(timeoutMs: number, skipFirst: boolean): number {
    this.records.writeInt32LE(skipFirst ? -1 : this.fds[0]!, 0);
    const count = pollCall(this.records, this.fds.length, timeoutMs);
    if (count >= 0) return count;
    // A signal: the event loop has to look.
    this.records.fill(0, REVENTS_AT, POLLFD_BYTES);
    return 1;
  }

  /** Whether the first one was, at the last wait. */
  get firstReady(): boolean {
    return this.records.readInt16LE(REVENTS_AT) !== 0;
  }
}

/** Bytes read, or a negative errno. */
export function readInto(fd: number, buffer: Buffer): number {
  const count = readCall(fd, buffer, buffer.length);
  return count < 0 ? -koffi.errno() : count;
}

const vectors = Buffer.allocUnsafeSlow(PARTS_MAX * IOVEC_BYTES);

/**
 * Writes all parts in one call: bytes written, or a negative errno. At most PARTS_MAX parts. Their memory must not
 * lie in the heap of the engine, which moves: buffers of 64 bytes and more never do, those of Buffer.alloc neither.
 */
export function writeParts(fd: number, parts: readonly Uint8Array[]): number {
  let count = 0;
  for (const part of parts) {
    if (part.length === 0) continue;
    vectors.writeBigUInt64LE(koffi.address(part), count * IOVEC_BYTES);
    vectors.writeBigUInt64LE(BigInt(part.length), count * IOVEC_BYTES + 8);
    count++;
  }
  const written = writevCall(fd, vectors, count);
  return written < 0 ? -koffi.errno() : written;
}

/** A read without data returns EAGAIN from then on. */
export function setNonBlocking(fd: number): void {
  const flags = fcntlCall(fd, F_GETFL, 'int', 0);
  if (flags < 0 || fcntlCall(fd, F_SETFL, 'int', flags | O_NONBLOCK) < 0) {
    throw new Error(`fcntl: errno ${koffi.errno()}`);
  }
}

export const { EAGAIN, EINTR, ENODEV, ENOENT, ECONNABORTED } = constants.errno;
