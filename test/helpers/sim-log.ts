/** The log of a simulated node: told to the world. */
import type { Logger } from '../../src/base/log.js';

type OnLine = ((line: string) => void) | undefined;

/** What a node logs is told to the world, which counts some of it, and goes into the trace. */
export function worldLogger(name: string, onLog: OnLine, trace: OnLine): Logger {
  const line = (level: string) => (fields: object, message: string) => {
    onLog?.(message);
    trace?.(`  ${name} ${level}: ${message} ${JSON.stringify(fields, printBigint)}`);
  };
  return {
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
    child: (area) => worldLogger(`${name} ${area}`, onLog, trace),
  };
}

function printBigint(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString(16) : value;
}
