/** The part of the control interface about versions that arrive in pieces: images, restored backups (see api.ts). */
import type { VdiInfo, VdiRef } from './api.js';

export interface StagedMethods {
  /**
   * Versions that arrive in many calls, to one sheep, and appear when they are complete; `id` names one in
   * `stage.write` and the calls that end it. Given up after a minute without a call.
   */
  'image.begin': [
    { name: string; sizeBytes?: number; copies?: number; blockSizeShift?: number },
    { id: string },
  ];
  'image.commit': [{ id: string; contentBytes: number; sha256: string }, VdiInfo];
  /** Starts from a snapshot; the result becomes the newest snapshot of its volume. */
  'restore.begin': [
    VdiRef & { sizeBytes?: number },
    { id: string; sizeBytes: number; blockSizeShift: number },
  ];
  'restore.commit': [{ id: string; sizeBytes: number }, VdiInfo];
  /** Request blob: the bytes; at most 4 MiB a call. None: only says that the client is still there. */
  'stage.write': [{ id: string; offset: number }, Record<string, never>];
  'stage.abort': [{ id: string }, Record<string, never>];
}
