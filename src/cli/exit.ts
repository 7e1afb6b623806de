import { AppError, type ErrorCode, errorKinds } from '../base/errors.js';
import { textOfResult } from '../wire/sheepdog.js';

/** Exit codes of the original. */
export const exitCodes = {
  ok: 0,
  failure: 1,
  system: 2,
  exists: 3,
  full: 4,
  missing: 5,
  usage: 64,
  /** What a shell reports for a program whose reader went away. */
  brokenPipe: 141,
} as const;

/**
 * Ends the command: lines for standard error, an exit code, and a hint that names the next step. Programs know
 * what the original prints to the letter, so after its texts the hint is for terminals only (`quietHint`).
 */
export class Exit extends Error {
  override readonly name = 'Exit';
  readonly exit: number;
  readonly hint: string | undefined;
  readonly quietHint: boolean;

  constructor(
    exit: number,
    text: string,
    options: { hint?: string | undefined; quietHint?: boolean; cause?: unknown } = {},
  ) {
    super(text, { cause: options.cause });
    this.exit = exit;
    this.hint = options.hint;
    this.quietHint = options.quietHint ?? false;
  }
}

/** Codes that are told in the original's words (programs match them); others in the sheep's own, which say more. */
const toldInOldWords: ReadonlySet<ErrorCode> = new Set([
  'no-object',
  'vdi-exists',
  'vdi-locked',
  'no-vdi',
  'no-tag',
  'shutdown',
  'no-memory',
  'full-vdi',
  'version',
  'no-space',
  'wait-for-format',
  'wait-for-join',
  'halt',
  'read-only',
]);

const hints: Partial<Record<ErrorCode, string>> = {
  network:
    "Is the sheep running? Start a cluster with 'dog cluster up', or name another sheep with -a and -p.",
  'no-vdi': "'dog vdi list' shows the volumes there are.",
  'no-tag': "'dog vdi list NAME' shows the snapshots of a volume.",
  'vdi-exists': "Choose another name, or delete the old one with 'dog vdi delete NAME'.",
  'vdi-locked': 'Another client has the volume open; stop it first.',
  'wait-for-format': "Format the cluster first: 'dog cluster format -c 3'.",
  'wait-for-join': "'dog cluster info' says which sheep are awaited; start them.",
  'no-space': "Make room ('dog vdi delete') or add a sheep; 'dog node info' shows who is full.",
  halt: "'dog node list' shows which sheep are up; start the others.",
  shutdown: "Wait until it has stopped, then start it again: 'dog cluster up'.",
  version: 'Use the dog that came with the sheep.',
};

export function textOf(error: AppError): string {
  return toldInOldWords.has(error.code) ? textOfResult(errorKinds[error.code].wire) : error.message;
}

export function hintOf(error: AppError): string | undefined {
  return hints[error.code];
}

/** `prefix: result text`, the form of most of the original's errors. */
export function refusal(prefix: string, error: unknown, exit?: number): Exit {
  if (error instanceof Exit) return error;
  const known = AppError.from(error);
  if (known.code === 'network') return exitOf(known);
  return new Exit(exit ?? exitCodes.failure, `${prefix}: ${textOf(known)}`, {
    hint: hintOf(known),
    quietHint: true,
    cause: error,
  });
}

/** Any error as an Exit: what a command did not put in words of its own. */
export function exitOf(error: unknown): Exit {
  if (error instanceof Exit) return error;
  const known = AppError.from(error);
  const code = known.code === 'invalid' ? exitCodes.failure : errorKinds[known.code].exit;
  return new Exit(code, textOf(known), { hint: hintOf(known), quietHint: true, cause: error });
}
