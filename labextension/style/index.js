import './base.css';
import './parts.css';
import './plots.css';
import './dashboard.css';
import './live.css';
import './loadtests.css';
import './endpoint.css';
import './tryit.css';
