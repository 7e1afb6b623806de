import { PAYLOAD_BYTES_MAX } from './protocol.js';

/**
 * What one client, and all clients together, may take of this process (I-10, I-11). Every limit has a stated
 * behaviour when it is reached; none of them lets memory grow.
 */
export interface NbdLimits {
  /** Connections in all. Past it: the new one is closed at once. */
  readonly connectionsMax: number;
  /** Connections that have not chosen an export. Past it: the oldest of them is closed. */
  readonly handshakesMax: number;
  /** From accept to the end of the handshake, TLS included. Past it: closed. */
  readonly handshakeTimeoutMs: number;
  /** Payload of one option. Past it: drained and answered ERR_TOO_BIG. */
  readonly optionBytesMax: number;
  /** Past it an option is not even drained: closed. */
  readonly optionDrainBytesMax: number;
  /** Options in one handshake. Past it: closed. */
  readonly optionsMax: number;
  /** Payload of one request. Past it: drained and answered EINVAL. */
  readonly payloadBytesMax: number;
  /** Requests of one connection whose reply has not left. Past it: the socket is not read. */
  readonly requestsPerConnectionMax: number;
  /** Payload bytes of one connection, either way, in requests not yet answered. Past it: not read. */
  readonly bytesPerConnectionMax: number;
  /** The same for all connections. Past it: not read; they take turns. */
  readonly bytesTotalMax: number;
  /**
   * A peer that holds payload bytes (half a write sent, replies not taken) without any progress for this long,
   * while others wait for bytes, is closed. Without others in want it may stay: a stopped QEMU is not an enemy.
   */
  readonly stallTimeoutMs: number;
  /** How long the end of a connection waits for requests still in the device before it closes the handle. */
  readonly closeGraceMs: number;
  /** How long the end of the server waits for requests to be answered before it drops their connection. */
  readonly drainMs: number;
  /** Extents in one answer to BLOCK_STATUS; the client asks again for the rest. */
  readonly extentsMax: number;
}

export const defaultLimits: NbdLimits = {
  connectionsMax: 2048,
  handshakesMax: 512,
  handshakeTimeoutMs: 10_000,
  optionBytesMax: 64 * 1024,
  optionDrainBytesMax: 1024 * 1024,
  optionsMax: 4096,
  payloadBytesMax: PAYLOAD_BYTES_MAX,
  requestsPerConnectionMax: 128,
  bytesPerConnectionMax: 2 * PAYLOAD_BYTES_MAX,
  bytesTotalMax: 8 * PAYLOAD_BYTES_MAX,
  stallTimeoutMs: 30_000,
  closeGraceMs: 5_000,
  drainMs: 2_000,
  extentsMax: 4096,
};
