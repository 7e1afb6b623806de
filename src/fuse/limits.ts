/** What the kernel may ask of a session at a time, and what happens at each limit. */

/** Payload of one WRITE, and answer of one READ: the kernel cuts larger ones. */
export const PAYLOAD_BYTES_MAX = 1024 * 1024;
const PAGE_BYTES = 4096;
/** Pages of one request. */
export const REQUEST_PAGES_MAX = PAYLOAD_BYTES_MAX / PAGE_BYTES;
/** The kernel refuses to be read with less than payload and headers; a name or a record is far below a page. */
export const REQUEST_BYTES_MAX = PAYLOAD_BYTES_MAX + PAGE_BYTES;
/** Requests that wait for the cluster. Past it: the device is not read, and the kernel's own queue grows. */
export const REQUESTS_MAX = 256;
/** Payload bytes of writes that wait for the cluster. Past it: the same. */
export const WRITE_BYTES_MAX = 64 * 1024 * 1024;
/** Asynchronous requests that the kernel has under way (readahead, direct I/O of libaio). Past it: it waits. */
export const BACKGROUND_MAX = 64;
/** Payloads up to this are copied out of the receive buffer, which is then free for the next request. */
export const COPIED_BYTES_MAX = 128 * 1024;
/** Receive buffers kept for the next large write. Past it: left to the garbage collector. */
export const SPARE_BUFFERS_MAX = 8;
/** Requests taken in one turn before the event loop gets its own. */
export const REQUESTS_PER_TURN_MAX = 32;
/** A program that was interrupted gets its answer if it comes within this; later it is EINTR. */
export const INTERRUPT_GRACE_MS = 1000;
/** How long the process may sleep while it waits for the device: timers are late by that much at most. */
export const WAIT_MS = 20;
