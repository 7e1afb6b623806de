import { type Logger as PinoLogger, pino } from 'pino';
import { type LogLevel, levelNumber } from './log-level.js';

/** The logging seam: structured, one child per area. `debug` topics are chosen by area (SHEEPFOLD_DEBUG=nbd,store). */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  /** A logger for one area, with fields that every line of it carries. */
  child(area: string, fields?: object): Logger;
}

export const silentLogger: Logger = {
  debug: () => {},
  info: () => {},
  warn: () => {},
  error: () => {},
  child: () => silentLogger,
};

export interface LogOptions {
  readonly file?: string;
  /** Areas that log everything whatever the level is, or `*` for all. */
  readonly debugAreas?: string[];
  readonly level?: LogLevel;
}

/** A log whose level can be changed while it is in use, in all children at once. */
export interface LogControl {
  readonly logger: Logger;
  level: LogLevel;
  /** Opens the file of that name anew: after it was renamed, by whoever rotates logs. */
  reopen(): void;
}

/** Logs JSON lines to a file (or standard error without one), from level info on. */
export function openLog(options: LogOptions = {}): LogControl {
  const destination = pino.destination({ dest: options.file ?? 2, sync: true, mkdir: true });
  const areas = new Set(options.debugAreas ?? []);
  const inner = pino({ base: null, level: 'debug', timestamp: pino.stdTimeFunctions.isoTime }, destination);
  const control = {
    level: options.level ?? ('info' as LogLevel),
    reopen: () => {
      if (options.file !== undefined) destination.reopen();
    },
  };
  return Object.assign(control, { logger: wrap(inner, control, areas, areas.has('*')) });
}

export function createLogger(options: LogOptions = {}): Logger {
  return openLog(options).logger;
}

function wrap(
  inner: PinoLogger,
  control: { level: LogLevel },
  debugAreas: ReadonlySet<string>,
  all: boolean,
): Logger {
  const passes = (level: LogLevel): boolean => all || levelNumber(control.level) >= levelNumber(level);
  return {
    debug: (fields, message) => void (passes('debug') && inner.debug(fields, message)),
    info: (fields, message) => void (passes('info') && inner.info(fields, message)),
    warn: (fields, message) => void (passes('warning') && inner.warn(fields, message)),
    error: (fields, message) => void (passes('err') && inner.error(fields, message)),
    child(area, fields = {}) {
      const everything = debugAreas.has('*') || debugAreas.has(area);
      return wrap(inner.child({ area, ...fields }), control, debugAreas, everything);
    },
  };
}
