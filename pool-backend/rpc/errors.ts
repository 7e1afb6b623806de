import { AppError, type ErrorCode as AppErrorCode } from '../../src/base/errors.js';
import { encode, i32, optional, struct, text, uuid, type ValueOf } from './shapes.js';

/** libvirt's error numbers (virErrorNumber) that storage uses, with the sentence libvirt puts around a detail. */
const kinds = {
  internal: { code: 1, sentence: (detail: string) => `internal error: ${detail}` },
  'no-support': {
    code: 3,
    sentence: (detail: string) => `this function is not supported by the connection driver: ${detail}`,
  },
  'invalid-arg': { code: 8, sentence: (detail: string) => `invalid argument: ${detail}` },
  'operation-failed': { code: 9, sentence: (detail: string) => `operation failed: ${detail}` },
  xml: { code: 27, sentence: (detail: string) => `XML error: ${detail}` },
  'operation-denied': {
    code: 29,
    sentence: (detail: string) => `operation ${detail} forbidden for read only access`,
  },
  system: { code: 38, sentence: (detail: string) => detail },
  rpc: { code: 39, sentence: (detail: string) => detail },
  'no-pool': { code: 49, sentence: (detail: string) => `Storage pool not found: ${detail}` },
  'no-volume': { code: 50, sentence: (detail: string) => `Storage volume not found: ${detail}` },
  'operation-invalid': {
    code: 55,
    sentence: (detail: string) => `Requested operation is not valid: ${detail}`,
  },
  'volume-exists': { code: 90, sentence: (detail: string) => `storage volume ${detail} exists already` },
} as const;

export type LibvirtErrorKind = keyof typeof kinds;

/** Which part of libvirt speaks (virErrorDomain). */
export const ErrorDomain = { rpc: 7, storage: 18 } as const;
const LEVEL_ERROR = 2;

/** A refusal that a client of libvirt understands: answered, and the connection lives. */
export class LibvirtError extends Error {
  override readonly name = 'LibvirtError';

  /** `detail` is put into libvirt's sentence for this kind. */
  constructor(
    readonly kind: LibvirtErrorKind,
    readonly detail: string,
    options?: { cause?: unknown },
  ) {
    super(kinds[kind].sentence(detail), options);
  }

  get code(): number {
    return kinds[this.kind].code;
  }

  static isKind(error: unknown, ...wanted: LibvirtErrorKind[]): error is LibvirtError {
    return error instanceof LibvirtError && wanted.includes(error.kind);
  }
}

/** What libvirt's storage says where the cluster's own code says as much; the rest is 'operation failed'. */
const translations: Partial<Record<AppErrorCode, (message: string) => LibvirtError>> = {
  'no-space': () => new LibvirtError('system', 'cannot write to the cluster: No space left on device'),
  'full-vdi': () => new LibvirtError('system', 'cannot create a volume: No space left on device'),
  'no-vdi': (message) => new LibvirtError('no-volume', message),
  'no-tag': (message) => new LibvirtError('no-volume', message),
  'vdi-locked': (message) => new LibvirtError('operation-invalid', message),
  invalid: (message) => new LibvirtError('invalid-arg', message),
  'not-supported': (message) => new LibvirtError('no-support', message),
};

/** Makes a refusal of the cluster, or a broken limit of the protocol, one that libvirt's clients understand. */
export function toLibvirtError(error: unknown): LibvirtError {
  if (error instanceof LibvirtError) return error;
  if (error instanceof AppError) {
    const translated = translations[error.code]?.(error.message);
    return translated ?? new LibvirtError('operation-failed', error.message, { cause: error });
  }
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof Error && error.name === 'XdrError') return new LibvirtError('rpc', message);
  return new LibvirtError('internal', message, { cause: error });
}

const namedObject = struct({ name: text, uuid });

/** Body of a reply with status error (struct remote_error). */
export const errorShape = struct({
  code: i32,
  domain: i32,
  message: optional(text),
  level: i32,
  // Domain and network of the error: never ours, but read when another daemon's answer is looked at.
  dom: optional(struct({ name: text, uuid, id: i32 })),
  str1: optional(text),
  str2: optional(text),
  str3: optional(text),
  int1: i32,
  int2: i32,
  net: optional(namedObject),
});

export type WireError = ValueOf<typeof errorShape>;

const MESSAGE_CHARACTERS_MAX = 4000;

export function encodeError(error: LibvirtError): Buffer {
  const message = error.message.slice(0, MESSAGE_CHARACTERS_MAX);
  return encode(errorShape, {
    code: error.code,
    domain: error.kind === 'rpc' ? ErrorDomain.rpc : ErrorDomain.storage,
    message,
    level: LEVEL_ERROR,
    dom: undefined,
    str1: message,
    str2: error.detail.slice(0, MESSAGE_CHARACTERS_MAX),
    str3: undefined,
    int1: -1,
    int2: -1,
    net: undefined,
  });
}
