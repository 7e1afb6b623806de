import { AssertionError } from '../base/assert.js';
import { AppError, errorKinds } from '../base/errors.js';
import { type Logger, silentLogger } from '../base/log.js';
import type { Answer, Operation, Request } from '../sheepdog/operation.js';
import { Result } from '../wire/sheepdog.js';
import type { ControlHandler, ControlProgress } from './api.js';
import { CONTROL_MORE_FLAG } from './api.js';
import { callerAt } from './caller.js';
import { decodePayload, encodePayloadHead } from './frame.js';

const JSON_BYTES_MAX = 1024 * 1024;

/** The CONTROL operation: one call of `dog` (control/api.ts), with progress while it runs. */
export function controlOperation(
  handler: ControlHandler,
  { log = silentLogger, jsonBytesMax = JSON_BYTES_MAX }: { log?: Logger; jsonBytesMax?: number } = {},
): Operation {
  return async (request) => {
    try {
      return await call(request, handler, jsonBytesMax);
    } catch (error) {
      if (error instanceof AssertionError) throw error;
      return refusalOf(error, log);
    }
  };
}

async function call(request: Request, handler: ControlHandler, jsonBytesMax: number): Promise<Answer> {
  const { json, blob } = decodePayload(request.payload, jsonBytesMax);
  const asked = json as { method?: unknown; params?: unknown } | null;
  if (typeof asked !== 'object' || asked === null || typeof asked.method !== 'string') {
    throw new AppError('invalid', 'a control request needs a method');
  }
  let answered = false;
  const onProgress = (progress: ControlProgress): void => {
    if (answered) return;
    const payload = encodePayloadHead({ progress });
    request.send({ result: Result.SUCCESS, payload, flags: CONTROL_MORE_FLAG });
  };
  try {
    const { client } = request;
    const caller = {
      ...callerAt(client.address),
      onClose: (listener: () => void) => client.onClose(listener),
    };
    const answer = await handler.call(asked.method, asked.params ?? {}, blob, onProgress, caller);
    const parts: Uint8Array[] = [encodePayloadHead({ result: answer.result ?? {} })];
    if (answer.blob !== undefined && answer.blob.length > 0) parts.push(answer.blob);
    return { result: Result.SUCCESS, payload: parts, flags: 0 };
  } finally {
    answered = true;
  }
}

function refusalOf(error: unknown, log: Logger): Answer {
  const refusal = AppError.from(error);
  if (!(error instanceof AppError)) {
    log.error({ error: refusal.message, stack: (error as Error | null)?.stack }, 'a control call failed');
  }
  const payload = encodePayloadHead({ error: { code: refusal.code, message: refusal.message } });
  return { result: errorKinds[refusal.code].wire, payload, flags: 0 };
}
