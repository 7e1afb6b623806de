import { status } from '@grpc/grpc-js';
import { AppError, type ErrorCode } from '../../base/errors.js';

/**
 * What a call that failed tells about the store.
 * 'refused': it was not done, and trying again would not help.
 * 'undone': it was not done; another member, or a later moment, may do it.
 * 'unknown': it may have been done, or be done yet.
 * 'login': it was not done, as the token is no longer good.
 */
export type FailureKind = 'refused' | 'undone' | 'unknown' | 'login';

/** A call to one member of etcd that failed. */
export class RpcFailure extends Error {
  override readonly name = 'RpcFailure';

  constructor(
    readonly kind: FailureKind,
    readonly code: ErrorCode,
    message: string,
  ) {
    super(message);
  }

  toAppError(): AppError {
    return new AppError(this.code, `etcd: ${this.message}`, { cause: this });
  }
}

/** Sentences of etcd (api/v3rpc/rpctypes/error.go) that say more than their gRPC code. First match wins. */
const sentences: readonly [pattern: RegExp, kind: FailureKind, code: ErrorCode][] = [
  [/lease not found/, 'refused', 'cluster-error'],
  [/space exceeded/, 'refused', 'no-space'],
  [/request is too large|too many operations|larger than max/, 'refused', 'invalid'],
  [/duplicate key|key is not provided/, 'refused', 'invalid'],
  [/invalid auth token|revision in header is old|user name is empty/, 'login', 'system'],
  [/authentication failed|permission denied|auth/i, 'refused', 'system'],
  [/required revision has been compacted/, 'refused', 'again'],
  // Sent back before anything was proposed.
  [/no leader|too many requests|not capable|for learner/, 'undone', 'network'],
];

/** Codes that etcd's server only gives before it does anything. */
const refusals = new Set([
  status.INVALID_ARGUMENT,
  status.NOT_FOUND,
  status.ALREADY_EXISTS,
  status.PERMISSION_DENIED,
  status.FAILED_PRECONDITION,
  status.OUT_OF_RANGE,
  status.UNIMPLEMENTED,
]);

/** From the status that a gRPC call ended with. */
export function failureFrom(code: number, details: string): RpcFailure {
  const found = details.startsWith('etcdserver:')
    ? sentences.find(([pattern]) => pattern.test(details))
    : undefined;
  const message = details.replace(/^etcdserver: /, '') || `gRPC status ${code}`;
  if (found) return new RpcFailure(found[1], found[2], message);
  if (code === status.UNAUTHENTICATED) return new RpcFailure('login', 'system', message);
  if (refusals.has(code)) return new RpcFailure('refused', 'system', message);
  return new RpcFailure('unknown', 'network', message);
}
