import type { Command } from 'commander';
import { AppError } from '../../base/errors.js';
import { ATTR_VALUE_BYTES_MAX } from '../../control/params.js';
import type { Context } from '../context.js';
import { Exit, exitCodes, refusal } from '../exit.js';
import { addLeaf, type Runner } from '../leaf.js';

/** Attributes: small values that people and programs keep with a volume. */
export function vdiAttributeCommands(parent: Command, runner: Runner): void {
  addLeaf<{ delete?: boolean; exclusive?: boolean }>(parent, runner, {
    usage: 'setattr <name> <key> [value]',
    summary: 'set or delete an attribute of a volume',
    details: 'Without VALUE it is read from standard input; at most 64 KiB.',
    examples: ['dog vdi setattr first owner alice', 'dog vdi setattr -d first owner'],
    options: [
      ['-d, --delete', 'delete the attribute'],
      ['-x, --exclusive', 'fail (exit 3) when it exists already'],
    ],
    run: setAttribute,
  });
  addLeaf(parent, runner, {
    usage: 'getattr <name> <key>',
    summary: 'print an attribute of a volume',
    examples: ['dog vdi getattr first owner'],
    run: getAttribute,
  });
}

async function setAttribute(
  context: Context,
  [name, key, value]: string[],
  options: { delete?: boolean; exclusive?: boolean },
): Promise<void> {
  if (options.delete === true && options.exclusive === true) {
    throw new Exit(exitCodes.usage, 'dog: -d and -x exclude each other');
  }
  const mode = options.delete === true ? 'delete' : options.exclusive === true ? 'exclusive' : 'set';
  const params = { name: name!, key: key!, mode } as const;
  const bytes = mode === 'delete' ? undefined : await valueBytes(context, value);
  await context
    .call('vdi.setattr', bytes === undefined ? params : { ...params, value: bytes.toString('base64') })
    .catch((error: unknown) => {
      throw attributeRefusal(error, key!);
    });
  if (context.json) await context.printJson({});
}

async function valueBytes(context: Context, value: string | undefined): Promise<Buffer> {
  const parts: Buffer[] = value === undefined ? [] : [Buffer.from(value)];
  let length = parts[0]?.length ?? 0;
  if (value === undefined) {
    for await (const chunk of context.io.stdin as AsyncIterable<Buffer>) {
      parts.push(chunk);
      length += chunk.length;
      if (length > ATTR_VALUE_BYTES_MAX) break;
    }
  }
  if (length <= ATTR_VALUE_BYTES_MAX) return Buffer.concat(parts);
  throw new Exit(
    exitCodes.failure,
    `The value is longer than ${ATTR_VALUE_BYTES_MAX} bytes; nothing was set`,
  );
}

async function getAttribute(context: Context, [name, key]: string[]): Promise<void> {
  const { value } = await context.call('vdi.getattr', { name: name!, key: key! }).catch((error: unknown) => {
    throw attributeRefusal(error, key!);
  });
  if (context.json) return context.printJson({ name, key, value });
  await context.print(Buffer.from(value, 'base64'));
}

function attributeRefusal(error: unknown, key: string): Exit {
  if (AppError.isCode(error, 'no-vdi')) return new Exit(exitCodes.missing, 'VDI not found', { cause: error });
  if (AppError.isCode(error, 'missing', 'no-object')) {
    return new Exit(exitCodes.missing, `Attribute '${key}' not found`, { cause: error });
  }
  if (AppError.isCode(error, 'exists')) {
    return new Exit(exitCodes.exists, `The attribute '${key}' already exists`, { cause: error });
  }
  return refusal(`Failed to access attribute '${key}'`, error);
}
