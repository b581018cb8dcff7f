export * from './contract';
export { livePlots } from './live';
