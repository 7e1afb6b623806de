import { AppError } from '../base/errors.js';
import type { ControlCaller, ControlHandler } from '../control/api.js';
import { checkFields, checkOptionalBoolean, checkText } from '../control/params.js';
import type { NodeDisks } from './node-disks.js';

const PATH_BYTES_MAX = 4096;

/** Answers `node.plug` and `node.unplug`, and everything else by `inner`. `disks`: undefined before the format. */
export function answerDiskCalls(disks: () => NodeDisks | undefined, inner: ControlHandler): ControlHandler {
  return {
    call: async (method, params, blob, onProgress, caller) => {
      if (method !== 'node.plug' && method !== 'node.unplug') {
        return inner.call(method, params, blob, onProgress, caller);
      }
      await change(disks(), method, params, caller);
      return { result: {} };
    },
  };
}

async function change(
  disks: NodeDisks | undefined,
  method: 'node.plug' | 'node.unplug',
  params: unknown,
  caller: ControlCaller | undefined,
): Promise<void> {
  // Whoever may say where a sheep writes files is on its machine (I-10).
  if (caller?.local !== true) {
    throw new AppError('not-supported', 'the disks of a sheep are changed from its own machine only');
  }
  if (disks === undefined) throw new AppError('wait-for-format', 'Waiting for cluster to be formatted');
  const fields = checkFields(params);
  const path = checkText(fields.path, 'path', PATH_BYTES_MAX);
  if (method === 'node.plug') return disks.plug(path);
  if (checkOptionalBoolean(fields.keep, 'keep')) return disks.keep(path);
  return disks.unplug(path, checkOptionalBoolean(fields.force, 'force'));
}
