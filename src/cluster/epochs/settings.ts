import { AppError } from '../../base/errors.js';

/** What can be set for the whole cluster while it runs; in the coordinator, so it holds after every restart. */
export interface ClusterSettings {
  /** A node that has been down for so long is not waited for any more (D-4); 0: always waited for. */
  readonly downOutMs: number;
  /** No objects are compared or copied to make up for absences, losses and changed placements. */
  readonly recoveryPaused: boolean;
}

export const SETTINGS_KEY = 'cluster/settings';
export const defaultSettings: ClusterSettings = { downOutMs: 10 * 60 * 1000, recoveryPaused: false };

export function parseSettings(text: string | undefined): ClusterSettings {
  if (text === undefined) return defaultSettings;
  const settings = { ...defaultSettings, ...(JSON.parse(text) as Partial<ClusterSettings>) };
  if (!Number.isSafeInteger(settings.downOutMs) || typeof settings.recoveryPaused !== 'boolean') {
    throw new AppError('cluster-error', 'the settings in the coordinator are not readable');
  }
  return settings;
}
