/** What one connection to a sheep may hold, and how it comes back. */

/** One request reads or writes at most this; longer ranges are cut by the caller. */
export const REQUEST_BYTES_MAX = 4 * 1024 * 1024;
/** Zeroing and block status have no payload; a piece of this size is answered in good time. */
export const RANGE_BYTES_MAX = 1024 * 1024 * 1024;
/** Bytes of one chunk that is not data: extents, or the text of an error. More: the connection is dropped. */
export const CHUNK_BYTES_MAX = 1024 * 1024;
/** Payload of one answer to an option. More: the connection is dropped. */
export const OPTION_BYTES_MAX = 64 * 1024;
/** From the first byte to transmission. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;
/** The first attempt after a loss is made at once, the next after this, then twice that ... */
export const RETRY_MS_MIN = 20;
/** ... up to this. */
export const RETRY_MS_MAX = 500;
