import { type Logger as PinoLogger, pino } from 'pino';

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

/** Logs JSON lines to a file (or standard error without one). `debugAreas` is a list of areas, or `*` for all. */
export function createLogger(options: { file?: string; debugAreas?: string[] } = {}): Logger {
  const destination = pino.destination({ dest: options.file ?? 2, sync: true, mkdir: true });
  const areas = new Set(options.debugAreas ?? []);
  return wrap(pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination), areas);
}

function wrap(inner: PinoLogger, debugAreas: ReadonlySet<string>): Logger {
  return {
    debug: (fields, message) => inner.debug(fields, message),
    info: (fields, message) => inner.info(fields, message),
    warn: (fields, message) => inner.warn(fields, message),
    error: (fields, message) => inner.error(fields, message),
    child(area, fields = {}) {
      const level = debugAreas.has('*') || debugAreas.has(area) ? 'debug' : 'info';
      return wrap(inner.child({ area, ...fields }, { level }), debugAreas);
    },
  };
}
