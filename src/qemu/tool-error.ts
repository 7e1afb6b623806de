import { AppError, type ErrorCode } from '../base/errors.js';

/**
 * How a tool of QEMU ends in trouble, and the words that QEMU's sheepdog driver had for the refusals of a sheep: other
 * programs match them.
 */
export class ToolError extends Error {
  override readonly name = 'ToolError';

  constructor(
    /** Printed after `qemu-img: `; '' for nothing. Further lines are printed as they are. */
    message: string,
    readonly exit = 1,
    options: { cause?: unknown } = {},
  ) {
    super(message, options);
  }
}

const driverTexts: Partial<Record<ErrorCode, string>> = {
  unknown: 'Unknown error',
  'no-object': 'No object found',
  io: 'I/O error',
  checksum: 'I/O error',
  'vdi-exists': 'VDI exists already',
  exists: 'VDI exists already',
  system: 'System error',
  'vdi-locked': 'VDI is already locked',
  'no-vdi': 'No vdi found',
  'no-tag': 'Failed to find the requested tag',
  shutdown: 'The system is shutting down',
  'no-memory': 'Out of memory on the server',
  'full-vdi': 'We already have the maximum vdis',
  version: 'Protocol version mismatch',
  'no-space': 'Server has no space for new objects',
  'wait-for-format': 'Sheepdog is waiting for a format operation',
  'wait-for-join': 'Sheepdog is waiting for other nodes joining',
  halt: 'Sheepdog is stopped serving IO request',
  'read-only': 'Object is read-only',
};

/** A refusal without a text of the driver's own is told in the sheep's words, which say more. */
export function refusalText(error: unknown): string {
  const known = AppError.from(error);
  return (
    driverTexts[known.code] ??
    (known.code === 'invalid' ? `Invalid parameters: ${known.message}` : known.message)
  );
}

export function couldNotOpen(file: string, reason: string): string {
  return `Could not open '${file}': ${reason}`;
}
