import './base.css';
import './parts.css';
import './plots.css';
import './live.css';
