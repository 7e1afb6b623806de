/** How much is logged, by the names and numbers of syslog that administrators of the original know. */
export const logLevels = ['emerg', 'alert', 'crit', 'err', 'warning', 'notice', 'info', 'debug'] as const;

export type LogLevel = (typeof logLevels)[number];

/** A name, or its number; undefined when it is neither. */
export function parseLogLevel(text: string): LogLevel | undefined {
  const byName = logLevels.find((name) => name === text);
  return byName ?? (/^[0-7]$/.test(text) ? logLevels[Number(text)] : undefined);
}

/** Lower is more urgent. */
export function levelNumber(level: LogLevel): number {
  return logLevels.indexOf(level);
}
