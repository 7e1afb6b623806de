import type { Clock } from '../base/clock.js';
import { AppError } from '../base/errors.js';
import { nameOfResult, Op, Result } from '../wire/sheepdog.js';
import type { Answer, Operation, Operations, Request } from './operation.js';

/** Told of each I/O request that was answered. Commands are called as NBD calls them. */
export type RequestObserver = (
  command: string,
  durationMs: number,
  bytes: number,
  error: string | undefined,
) => void;

const commands = new Map<number, string>([
  [Op.READ_OBJ, 'READ'],
  [Op.WRITE_OBJ, 'WRITE'],
  [Op.CREATE_AND_WRITE_OBJ, 'WRITE'],
  [Op.DISCARD_OBJ, 'TRIM'],
  [Op.REMOVE_OBJ, 'TRIM'],
  [Op.FLUSH_VDI, 'FLUSH'],
]);

/** The same operations, where I/O is counted and timed. */
export function counted(operations: Operations, clock: Clock, observer: RequestObserver): Operations {
  const wrap = (operation: Operation, command: string): Operation => {
    return async (request: Request): Promise<Answer> => {
      const startMs = clock.nowMs();
      const done = (error: string | undefined) =>
        observer(command, clock.nowMs() - startMs, request.dataLength, error);
      try {
        const answer = await operation(request);
        done(answer.result === Result.SUCCESS ? undefined : nameOfResult(answer.result));
        return answer;
      } catch (error) {
        done(error instanceof AppError ? error.code : 'unknown');
        throw error;
      }
    };
  };
  return new Map(
    [...operations].map(([opcode, operation]) => {
      const command = commands.get(opcode);
      return [opcode, command === undefined ? operation : wrap(operation, command)];
    }),
  );
}
