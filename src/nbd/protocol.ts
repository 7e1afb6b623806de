/**
 * The NBD protocol as data: magics, flags, options, replies, commands and errors, each stated once. No behaviour
 * but the names for logs. Source: the NBD protocol specification (fixed newstyle, structured replies, and the
 * EXTENDED_HEADERS extension). All integers on the wire are big-endian; 64-bit magics are kept as two halves.
 *
 * Server greeting   u32 u32 NBDMAGIC, u32 u32 IHAVEOPT, u16 handshake flags;  the client answers u32 client flags
 * Option            u32 u32 IHAVEOPT, u32 option, u32 length, then `length` bytes
 * Option reply      u32 u32 OPTION_REPLY, u32 option, u32 reply type, u32 length, then `length` bytes
 * Request           u32 REQUEST, u16 flags, u16 command, u64 cookie, u64 offset, u32 length      (28 bytes)
 * Extended request  u32 EXTENDED_REQUEST, u16 flags, u16 command, u64 cookie, u64 offset, u64 length  (32 bytes)
 * Simple reply      u32 SIMPLE_REPLY, u32 error, u64 cookie                                      (16 bytes)
 * Structured chunk  u32 STRUCTURED_REPLY, u16 flags, u16 type, u64 cookie, u32 length            (20 bytes)
 * Extended chunk    u32 EXTENDED_REPLY, u16 flags, u16 type, u64 cookie, u64 offset, u64 length  (32 bytes)
 */
export const NBDMAGIC = [0x4e42444d, 0x41474943] as const;
export const IHAVEOPT = [0x49484156, 0x454f5054] as const;
export const OPTION_REPLY_MAGIC = [0x0003e889, 0x045565a9] as const;
export const REQUEST_MAGIC = 0x25609513;
export const EXTENDED_REQUEST_MAGIC = 0x21e41c71;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;
export const EXTENDED_REPLY_MAGIC = 0x6e8a278c;

export const GREETING_BYTES = 18;
export const OPTION_HEADER_BYTES = 16;
export const OPTION_REPLY_HEADER_BYTES = 20;
export const REQUEST_BYTES = 28;
export const EXTENDED_REQUEST_BYTES = 32;
export const SIMPLE_REPLY_BYTES = 16;
export const STRUCTURED_CHUNK_BYTES = 20;
export const EXTENDED_CHUNK_BYTES = 32;
/** Zeros after the answer to EXPORT_NAME, unless the client said NO_ZEROES. */
export const EXPORT_NAME_PADDING_BYTES = 124;

/** Handshake flags of the server, and the same bits echoed by the client. */
export const HandshakeFlag = { FIXED_NEWSTYLE: 1, NO_ZEROES: 2 } as const;

export const TransmissionFlag = {
  HAS_FLAGS: 1 << 0,
  READ_ONLY: 1 << 1,
  SEND_FLUSH: 1 << 2,
  SEND_FUA: 1 << 3,
  ROTATIONAL: 1 << 4,
  SEND_TRIM: 1 << 5,
  SEND_WRITE_ZEROES: 1 << 6,
  SEND_DF: 1 << 7,
  CAN_MULTI_CONN: 1 << 8,
  SEND_RESIZE: 1 << 9,
  SEND_CACHE: 1 << 10,
  SEND_FAST_ZERO: 1 << 11,
  BLOCK_STATUS_PAYLOAD: 1 << 12,
} as const;

export const Option = {
  EXPORT_NAME: 1,
  ABORT: 2,
  LIST: 3,
  PEEK_EXPORT: 4,
  STARTTLS: 5,
  INFO: 6,
  GO: 7,
  STRUCTURED_REPLY: 8,
  LIST_META_CONTEXT: 9,
  SET_META_CONTEXT: 10,
  EXTENDED_HEADERS: 11,
} as const;

const REPLY_ERROR_BIT = 0x80000000;

export const OptionReply = {
  ACK: 1,
  SERVER: 2,
  INFO: 3,
  META_CONTEXT: 4,
  ERR_UNSUP: REPLY_ERROR_BIT + 1,
  ERR_POLICY: REPLY_ERROR_BIT + 2,
  ERR_INVALID: REPLY_ERROR_BIT + 3,
  ERR_PLATFORM: REPLY_ERROR_BIT + 4,
  ERR_TLS_REQD: REPLY_ERROR_BIT + 5,
  ERR_UNKNOWN: REPLY_ERROR_BIT + 6,
  ERR_SHUTDOWN: REPLY_ERROR_BIT + 7,
  ERR_BLOCK_SIZE_REQD: REPLY_ERROR_BIT + 8,
  ERR_TOO_BIG: REPLY_ERROR_BIT + 9,
  ERR_EXT_HEADER_REQD: REPLY_ERROR_BIT + 10,
} as const;

export const InfoType = { EXPORT: 0, NAME: 1, DESCRIPTION: 2, BLOCK_SIZE: 3 } as const;

export const Command = {
  READ: 0,
  WRITE: 1,
  DISC: 2,
  FLUSH: 3,
  TRIM: 4,
  CACHE: 5,
  WRITE_ZEROES: 6,
  BLOCK_STATUS: 7,
} as const;

export const CommandFlag = {
  FUA: 1 << 0,
  NO_HOLE: 1 << 1,
  DF: 1 << 2,
  REQ_ONE: 1 << 3,
  FAST_ZERO: 1 << 4,
  PAYLOAD_LEN: 1 << 5,
} as const;

/** Set in the last chunk of a structured or extended reply. */
export const CHUNK_DONE = 1;

export const ChunkType = {
  NONE: 0,
  OFFSET_DATA: 1,
  OFFSET_HOLE: 2,
  BLOCK_STATUS: 5,
  BLOCK_STATUS_EXT: 6,
  ERROR: 0x8001,
  ERROR_OFFSET: 0x8002,
} as const;

/** Error values of replies: those Linux numbers that the specification allows. */
export const NbdError = {
  NONE: 0,
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;

/** Status bits of the context base:allocation. */
export const AllocationFlag = { HOLE: 1, ZERO: 2 } as const;

export const BASE_ALLOCATION = 'base:allocation';
/** The id we give base:allocation in SET_META_CONTEXT; any number would do, zero is left out to catch mistakes. */
export const BASE_ALLOCATION_ID = 1;

/** Strings of the protocol are at most this long. */
export const STRING_BYTES_MAX = 4096;
/** An export's name here: volume, '@' and tag, as the rest of the system accepts them. */
export const EXPORT_NAME_BYTES_MAX = 255;
/** Advertised maximum payload; the length every NBD client may rely on. */
export const PAYLOAD_BYTES_MAX = 32 * 1024 * 1024;

export const nameOfOption = namer(Option, 'option');
export const nameOfCommand = namer(Command, 'command');
export const nameOfOptionReply = namer(OptionReply, 'reply');
export const nameOfError = namer(NbdError, 'error');

function namer(table: Readonly<Record<string, number>>, what: string): (value: number) => string {
  const names = new Map(Object.entries(table).map(([name, value]) => [value, name]));
  return (value) => names.get(value) ?? `${what} ${value}`;
}
