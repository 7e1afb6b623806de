import { FuseError } from './errors.js';
import { BACKGROUND_MAX, PAYLOAD_BYTES_MAX, REQUEST_PAGES_MAX } from './limits.js';
import {
  InitFlag,
  InitFlag2,
  KERNEL_MAJOR,
  KERNEL_MINOR,
  KERNEL_MINOR_MIN,
  type record,
  reply,
} from './protocol.js';

/**
 * What is wanted of the kernel, of what it offers. POSIX_LOCKS and FLOCK_LOCKS are not: the kernel then keeps POSIX,
 * OFD and flock locks by itself, for this mount. HANDLE_KILLPRIV_V2 is a promise kept by having no set-user-id bits
 * at all; without it the kernel asks for `security.capability` before each write.
 */
const WANTED =
  InitFlag.ASYNC_READ |
  InitFlag.BIG_WRITES |
  InitFlag.DONT_MASK |
  InitFlag.AUTO_INVAL_DATA |
  InitFlag.ASYNC_DIO |
  InitFlag.PARALLEL_DIROPS |
  InitFlag.ABORT_ERROR |
  InitFlag.MAX_PAGES |
  InitFlag.HANDLE_KILLPRIV_V2 |
  InitFlag.INIT_EXT;
const WANTED_2 = InitFlag2.DIRECT_IO_ALLOW_MMAP;

/** The answer to INIT. Throws EPROTO when the kernel is older than anything that is served. */
export function negotiate(body: Readonly<Record<string, number>>, rest: Buffer): Buffer {
  const { major, minor, maxReadahead, flags } = body as ReturnType<typeof record.INIT.decode>;
  if (major < KERNEL_MAJOR || (major === KERNEL_MAJOR && minor < KERNEL_MINOR_MIN)) {
    throw new FuseError('EPROTO', `the kernel speaks FUSE ${major}.${minor}; 7.31 (Linux 5.4) is needed`);
  }
  const offered2 = (flags & InitFlag.INIT_EXT) !== 0 && rest.length >= 4 ? rest.readUInt32LE(0) : 0;
  return reply.init.encode({
    major: KERNEL_MAJOR,
    minor: KERNEL_MINOR,
    maxReadahead,
    flags: (flags & WANTED) >>> 0,
    flags2: (offered2 & WANTED_2) >>> 0,
    maxBackground: BACKGROUND_MAX,
    congestionThreshold: BACKGROUND_MAX - BACKGROUND_MAX / 4,
    maxWrite: PAYLOAD_BYTES_MAX,
    timeGranNs: 1,
    maxPages: REQUEST_PAGES_MAX,
  });
}
